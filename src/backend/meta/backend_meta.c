/* The device without data: fake addresses, kernels that only count products. It answers how large a run is before it is started.
 * Operations above it never read contents on the host, so a recording on meta takes the same path as on a real device. */
#include <stdio.h>
#include "backend_devices.h"
#include "base_team.h"
#include "cpu.h"

struct vlm_device {
    vlmk_env env;
    uintptr_t next; /* the fake address after the last block */
    double flops;
    vlmk_cpu_state *cpu; /* what the cpu would hold for its products: its own kernels say so, dry */
    const vlmk_table *cpu_kernels;
    vlmk_env cpu_env;
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

/* ---- what the cpu's products would take ---- */

enum { VLM_META_PARTS = 16, MOST_GROUPS = 4096, ROW_PADDING = 31 };

/* Rows of groups as even as can be, and room for the padding of the least even: where a group's rows end is data. */
static const int32_t *even_offsets(int64_t M, int64_t G, int32_t offset[MOST_GROUPS + 1])
{
    int64_t rows = M + ROW_PADDING * VLM_MIN(G, M);
    if (G <= 1 || G > MOST_GROUPS) return NULL;
    for (int64_t g = 0; g <= G; g++) offset[g] = (int32_t)(rows * g / G);
    return offset;
}

#define DRY(name)                                                                                  \
    static void dry_##name(vlm_device *dev, const vlmk_##name##_args *args)                        \
    {                                                                                              \
        int32_t offset[MOST_GROUPS + 1];                                                           \
        vlmk_##name##_args a = *args;                                                              \
        a.offset = even_offsets(a.M, a.G, offset);                                                 \
        if (a.G > 1 && !a.offset) return;                                                          \
        (void)dev->cpu_kernels->name(&dev->cpu_env, &a);                                           \
        vlmk_cpu_call_done(&dev->cpu_env);                                                         \
    }
DRY(linear_fwd)
DRY(linear_dx)
#undef DRY

static void dry_linear_dw(vlm_device *dev, const vlmk_linear_dw_args *args)
{
    int32_t offset[MOST_GROUPS + 1];
    vlmk_dw_part part[VLM_META_PARTS];
    vlmk_linear_dw_args a = *args;
    if (a.n_parts < 1) return;
    a.n_parts = VLM_MIN(a.n_parts, VLM_META_PARTS);
    a.part = part;
    for (int64_t i = 0; i < a.n_parts; i++) {
        part[i] = args->part[i];
        part[i].offset = even_offsets(part[0].M / VLM_MAX(part[0].stride, 1), a.G,
                                      offset); /* parts are groups of one size here */
        part[i].stride = 1;
    }
    if (a.G > 1 && !part[0].offset) return;
    (void)dev->cpu_kernels->linear_dw(&dev->cpu_env, &a);
    vlmk_cpu_call_done(&dev->cpu_env);
}

static void no_dry(vlm_device *dev, const void *args)
{
    (void)dev, (void)args;
}

#define DRY(args)                                                                                  \
    _Generic((args),                              \
        const vlmk_linear_fwd_args *: dry_linear_fwd, \
        const vlmk_linear_dx_args *: dry_linear_dx,   \
        const vlmk_linear_dw_args *: dry_linear_dw,   \
        default: no_dry)(env->device, args)

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
        DRY(args);                                                                                 \
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
    vlm_device *dev = vlm_alloc(sizeof *dev);
    int n_threads = params->n_threads > 0 ? params->n_threads : vlm_cores_allowed();
    if (dev) dev->cpu = vlmk_cpu_state_create(n_threads);
    if (!dev || !dev->cpu) {
        vlm_free(dev);
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a meta device");
    }
    dev->cpu_kernels = vlmk_cpu_select(NULL);
    vlmk_cpu_env_init(&dev->cpu_env, dev->cpu, NULL, n_threads, NULL);
    vlmk_cpu_env_dry(&dev->cpu_env);
    dev->env.device = dev;
    dev->next = FIRST_ADDRESS;
    dev->env.n_workers = 1;
    dev->env.flops = &dev->flops;
    *out = dev;
    return VLMOE_OK;
}

static void meta_close(vlm_device *dev)
{
    if (!dev) return;
    vlmk_cpu_state_destroy(dev->cpu);
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
    return vlmk_cpu_scratch_peak(dev->cpu);
}

static size_t meta_products_bytes(vlm_device *dev)
{
    return (size_t)vlmk_cpu_products_made(dev->cpu) * VLMK_CPU_PRODUCT_BYTES;
}

static void meta_reserve(vlm_device *dev, size_t scratch_bytes)
{
    (void)dev, (void)scratch_bytes;
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
    .products_bytes = meta_products_bytes,
    .reserve = meta_reserve,
};
