/* The device without data: fake addresses, kernels that only count products. It answers how large a run is before it is started.
 * Operations above it never read contents on the host, so a recording on meta takes the same path as on a real device. */
#include <stdio.h>
#include "backend_devices.h"

struct vlm_device {
    vlmk_env env;
    uintptr_t next; /* the fake address after the last block */
    double flops;
};

/* Blocks pretend to start here: aligned, never NULL, and far from the arena's own fake addresses. */
static const uintptr_t FIRST_ADDRESS = (uintptr_t)1 << 56;

static double linear_work(int64_t M, int64_t N, int64_t K)
{
    return 2.0 * (double)M * (double)N *
           (double)K; /* grouped: M bounds the rows, whose split is not known */
}

static double linear_fwd_work(const vlmk_linear_fwd_args *a)
{
    return linear_work(a->M, a->N, a->K);
}

static double linear_dx_work(const vlmk_linear_dx_args *a)
{
    return linear_work(a->M, a->N, a->K);
}

static double linear_dw_work(const vlmk_linear_dw_args *a)
{
    double work = 0.0;
    for (int64_t i = 0; a->dw && i < a->n_parts; i++) work += linear_work(a->part[i].M, a->N, a->K);
    return work;
}

/* Forward makes 2 products of each sequence, backward 5; every sequence counted as the longest. */
static double attention_work(const vlmk_attention_args *a)
{
    double products = a->dq ? 5.0 : 2.0;
    return 2.0 * products * (double)a->n_seq * (double)a->H * (double)a->head_dim *
           (double)a->max_q * (double)a->max_kv;
}

static double no_work(const void *args)
{
    (void)args;
    return 0.0;
}

#define WORK(args)                                                                                 \
    _Generic((args),                                   \
        const vlmk_linear_fwd_args *: linear_fwd_work, \
        const vlmk_linear_dx_args *: linear_dx_work,   \
        const vlmk_linear_dw_args *: linear_dw_work,   \
        const vlmk_attention_args *: attention_work,   \
        default: no_work)(args)

#define VLMK_KERNEL(name)                                                                          \
    static int meta_##name(vlmk_env *env, const vlmk_##name##_args *args)                          \
    {                                                                                              \
        *env->flops += WORK(args);                                                                 \
        return VLMOE_OK;                                                                           \
    }
#include "kernels.def"
#undef VLMK_KERNEL

#define VLMK_KERNEL(name) .name = meta_##name,
static const vlmk_table meta_table = {
#include "kernels.def"
};
#undef VLMK_KERNEL

static vlmoe_status meta_open(const vlm_device_params *params, vlm_device **out, vlmoe_error *error)
{
    (void)params;
    vlm_device *dev = vlm_alloc(sizeof *dev);
    if (!dev) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a meta device");
    dev->next = FIRST_ADDRESS;
    dev->env.n_workers = 1;
    dev->env.flops = &dev->flops;
    *out = dev;
    return VLMOE_OK;
}

static void meta_close(vlm_device *dev)
{
    vlm_free(dev);
}

static vlmoe_status meta_alloc(vlm_device *dev, vlm_memory_kind kind, size_t bytes, void **out,
                               vlmoe_error *error)
{
    (void)kind;
    if (bytes > SIZE_MAX / 4)
        return vlm_fail(error, VLMOE_E_NOMEM, "%zu bytes are more than an address can count",
                        bytes);
    *out = (void *)dev->next;
    dev->next += vlm_round_up(bytes, 256);
    return VLMOE_OK;
}

static void meta_release(vlm_device *dev, void *ptr)
{
    (void)dev, (void)ptr;
}

static vlmoe_status meta_copy(vlm_device *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev, (void)dst, (void)src, (void)bytes;
    return VLMOE_OK;
}

static vlmoe_status meta_download(vlm_device *dev, void *host, const void *src, size_t bytes)
{
    (void)dev, (void)host, (void)src, (void)bytes;
    return VLMOE_E_UNSUPPORTED;
}

static vlmoe_status meta_zero(vlm_device *dev, void *dst, size_t bytes)
{
    (void)dev, (void)dst, (void)bytes;
    return VLMOE_OK;
}

static vlmoe_status meta_sync(vlm_device *dev, vlmoe_error *error)
{
    (void)dev, (void)error;
    return VLMOE_OK;
}

static vlmk_env *meta_env(vlm_device *dev)
{
    return &dev->env;
}

static void meta_call_done(vlm_device *dev)
{
    (void)dev;
}

static const vlmk_table *meta_kernels(vlm_device *dev)
{
    (void)dev;
    return &meta_table;
}

static void meta_describe(vlm_device *dev, char *text, size_t bytes)
{
    (void)dev;
    snprintf(text, bytes, "no data");
}

static double meta_flops(vlm_device *dev)
{
    return dev->flops;
}

static size_t meta_scratch_peak(vlm_device *dev)
{
    (void)dev;
    return 0;
}

const vlm_backend vlm_backend_meta = {
    .abi = VLM_BACKEND_ABI,
    .name = "meta",
    .has_data = false,
    .wide = VLMOE_F32,
    .open = meta_open,
    .close = meta_close,
    .alloc = meta_alloc,
    .release = meta_release,
    .upload = meta_copy,
    .download = meta_download,
    .copy = meta_copy,
    .zero = meta_zero,
    .sync = meta_sync,
    .env = meta_env,
    .call_done = meta_call_done,
    .kernels = meta_kernels,
    .describe = meta_describe,
    .flops = meta_flops,
    .scratch_peak = meta_scratch_peak,
};
