/* The timing device. Its kernel table is made from kernels.def: a wrapper a row, which finds the device from the env it is called with,
 * as that is the device's first member. */
#include "backend_profile.h"
#include "backend_traffic.h"
#include "tensor.h"

typedef struct worker_time {
    double seconds;
    char rest_of_line[64 - sizeof(double)]; /* workers write at the same time */
} worker_time;

struct vlm_device {
    vlmk_env env; /* first: see above. The inner device's, its tiles timed */
    vlm_backend backend;
    const vlm_backend *inner;
    vlm_device *inner_device;
    const vlmk_table *kernels;
    vlm_spans *spans;
    worker_time *busy; /* [n_workers] of the present kernel */
    double wide_bytes;
};

/* ---- tiles ---- */

typedef struct timed_tiles {
    void (*fn)(void *arg, int64_t tile, int worker);
    void *arg;
    worker_time *busy;
} timed_tiles;

static void timed_tile(void *arg, int64_t tile, int worker)
{
    const timed_tiles *job = arg;
    double begin = vlm_now();
    job->fn(job->arg, tile, worker);
    job->busy[worker].seconds += vlm_now() - begin;
}

static void timed_parallel(void *pool, void (*fn)(void *arg, int64_t tile, int worker), void *arg,
                           int64_t n_tiles)
{
    vlm_device *dev = pool;
    const vlmk_env *env = dev->inner->env(dev->inner_device);
    timed_tiles job = {fn, arg, dev->busy};
    env->parallel(env->pool, timed_tile, &job, n_tiles);
}

/* ---- kernels ---- */

static void kernel_begin(vlm_device *dev, const char *name)
{
    for (int i = 0; i < dev->env.n_workers; i++) dev->busy[i].seconds = 0.0;
    vlm_span_begin(dev->spans, VLM_SPAN_KERNEL, name, NULL, -1);
}

static void kernel_end(vlm_device *dev, double flops, double bytes)
{
    vlm_span *span = vlm_span_innermost(dev->spans);
    if (span) {
        span->flops = flops;
        span->bytes = bytes;
        for (int i = 0; i < dev->env.n_workers; i++) span->busy_seconds += dev->busy[i].seconds;
    }
    vlm_span_end(dev->spans);
}

#define VLMK_KERNEL(name)                                                                          \
    static int timed_##name(vlmk_env *env, const vlmk_##name##_args *args)                         \
    {                                                                                              \
        vlm_device *dev = (vlm_device *)env;                                                       \
        double before = dev->inner->flops(dev->inner_device);                                      \
        kernel_begin(dev, #name);                                                                  \
        int code = dev->kernels->name(env, args);                                                  \
        kernel_end(dev, dev->inner->flops(dev->inner_device) - before,                             \
                   vlm_traffic_##name(args, dev->wide_bytes));                                     \
        return code;                                                                               \
    }
#include "kernels.def"
#undef VLMK_KERNEL

#define VLMK_KERNEL(name) .name = timed_##name,
static const vlmk_table timed_table = {
#include "kernels.def"
};
#undef VLMK_KERNEL

static const vlmk_table *profile_kernels(vlm_device *dev)
{
    (void)dev;
    return &timed_table;
}

static vlmk_env *profile_env(vlm_device *dev)
{
    return &dev->env;
}

static void profile_call_done(vlm_device *dev)
{
    dev->inner->call_done(dev->inner_device);
}

/* ---- memory ---- */

static vlmoe_status profile_alloc(vlm_device *dev, vlm_memory_kind kind, size_t bytes, void **out,
                                  vlmoe_error *error)
{
    return dev->inner->alloc(dev->inner_device, kind, bytes, out, error);
}

static void profile_release(vlm_device *dev, void *ptr)
{
    dev->inner->release(dev->inner_device, ptr);
}

#define TIMED_COPY(action, factor, type)                                                           \
    static vlmoe_status profile_##action(vlm_device *dev, void *dst, type src, size_t bytes)       \
    {                                                                                              \
        kernel_begin(dev, #action);                                                                \
        vlmoe_status status = dev->inner->action(dev->inner_device, dst, src, bytes);              \
        kernel_end(dev, 0.0, (factor) * (double)bytes);                                            \
        return status;                                                                             \
    }
TIMED_COPY(upload, 2.0, const void *)
TIMED_COPY(download, 2.0, const void *)
TIMED_COPY(copy, 2.0, const void *)

static vlmoe_status profile_zero(vlm_device *dev, void *dst, size_t bytes)
{
    kernel_begin(dev, "zero");
    vlmoe_status status = dev->inner->zero(dev->inner_device, dst, bytes);
    kernel_end(dev, 0.0, (double)bytes);
    return status;
}

static vlmoe_status profile_sync(vlm_device *dev, vlmoe_error *error)
{
    return dev->inner->sync(dev->inner_device, error);
}

/* ---- the device ---- */

static void profile_describe(vlm_device *dev, char *text, size_t bytes)
{
    dev->inner->describe(dev->inner_device, text, bytes);
}

static double profile_flops(vlm_device *dev)
{
    return dev->inner->flops(dev->inner_device);
}

static size_t profile_scratch_peak(vlm_device *dev)
{
    return dev->inner->scratch_peak(dev->inner_device);
}

static size_t profile_products_bytes(vlm_device *dev)
{
    return dev->inner->products_bytes(dev->inner_device);
}

static void profile_reserve(vlm_device *dev, size_t scratch_bytes)
{
    dev->inner->reserve(dev->inner_device, scratch_bytes);
}

static void free_device(vlm_device *dev)
{
    vlm_free(dev->busy);
    vlm_free(dev);
}

static void profile_close(vlm_device *dev)
{
    if (!dev) return;
    dev->inner->close(dev->inner_device);
    free_device(dev);
}

/* The inner backend's name, types and open stay; everything else passes through here. */
static void fill_backend(vlm_device *dev)
{
    dev->backend = *dev->inner;
    dev->backend.close = profile_close;
    dev->backend.alloc = profile_alloc;
    dev->backend.release = profile_release;
    dev->backend.upload = profile_upload;
    dev->backend.download = profile_download;
    dev->backend.copy = profile_copy;
    dev->backend.zero = profile_zero;
    dev->backend.sync = profile_sync;
    dev->backend.env = profile_env;
    dev->backend.call_done = profile_call_done;
    dev->backend.kernels = profile_kernels;
    dev->backend.describe = profile_describe;
    dev->backend.flops = profile_flops;
    dev->backend.scratch_peak = profile_scratch_peak;
    dev->backend.products_bytes = profile_products_bytes;
    dev->backend.reserve = profile_reserve;
}

vlmoe_status vlm_profile_device_create(const vlm_backend *inner, vlm_device *inner_device,
                                       vlm_spans *spans, const vlm_backend **out_backend,
                                       vlm_device **out, vlmoe_error *error)
{
    const vlmk_env *env = inner->env(inner_device);
    vlm_device *dev = vlm_alloc(sizeof *dev);
    worker_time *busy = vlm_alloc_array((size_t)VLM_MAX(env->n_workers, 1), sizeof *busy);
    if (!dev || !busy) {
        vlm_free(dev);
        vlm_free(busy);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a profile");
    }
    dev->inner = inner;
    dev->inner_device = inner_device;
    dev->kernels = inner->kernels(inner_device);
    dev->spans = spans;
    dev->busy = busy;
    dev->wide_bytes = (double)vlm_dtype_bytes(inner->wide);
    dev->env = *env;
    if (env->parallel) {
        dev->env.parallel = timed_parallel;
        dev->env.pool = dev;
    }
    fill_backend(dev);
    *out_backend = &dev->backend;
    *out = dev;
    return VLMOE_OK;
}

void vlm_profile_device_unwrap(vlm_device *dev, const vlm_backend **inner,
                               vlm_device **inner_device)
{
    *inner = dev->inner;
    *inner_device = dev->inner_device;
    free_device(dev);
}
