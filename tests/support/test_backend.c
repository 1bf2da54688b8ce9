#include "test_backend.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ref.h"
#include "test_env.h"

struct vlm_device {
    test_env e;
};

static vlmoe_status ref_open(const vlm_device_params *params, vlm_device **out, vlmoe_error *error)
{
    (void)params;
    vlm_device *dev = calloc(1, sizeof *dev);
    if (!dev) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for the reference device");
    test_env_init(&dev->e, 1);
    *out = dev;
    return VLMOE_OK;
}

static void ref_close(vlm_device *dev)
{
    if (!dev) return;
    test_env_fini(&dev->e);
    free(dev);
}

static vlmoe_status ref_alloc(vlm_device *dev, vlm_memory_kind kind, size_t bytes, void **out,
                              vlmoe_error *error)
{
    (void)dev, (void)kind;
    *out = vlm_alloc(bytes < 4096 ? 4096 : bytes); /* aligned to 256 from there on */
    return *out ? VLMOE_OK : vlm_fail(error, VLMOE_E_NOMEM, "no memory for %zu bytes", bytes);
}

static void ref_release(vlm_device *dev, void *ptr)
{
    (void)dev;
    vlm_free(ptr);
}

static vlmoe_status ref_copy(vlm_device *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    if (bytes) memmove(dst, src, bytes);
    return VLMOE_OK;
}

static vlmoe_status ref_zero(vlm_device *dev, void *dst, size_t bytes)
{
    (void)dev;
    if (bytes) memset(dst, 0, bytes);
    return VLMOE_OK;
}

static vlmoe_status ref_sync(vlm_device *dev, vlmoe_error *error)
{
    (void)dev, (void)error;
    return VLMOE_OK;
}

static vlmk_env *ref_env_of(vlm_device *dev)
{
    return &dev->e.env;
}

static void ref_call_done(vlm_device *dev)
{
    test_env_reset(&dev->e);
}

static const vlmk_table *ref_kernels(vlm_device *dev)
{
    (void)dev;
    return &vlmk_ref_table;
}

static void ref_describe(vlm_device *dev, char *text, size_t bytes)
{
    (void)dev;
    snprintf(text, bytes, "plain loops, f64");
}

static double ref_flops(vlm_device *dev)
{
    return dev->e.flops;
}

static size_t ref_scratch_peak(vlm_device *dev)
{
    (void)dev;
    return 0;
}

static void ref_reserve(vlm_device *dev, size_t scratch_bytes)
{
    (void)dev, (void)scratch_bytes;
}

const vlm_backend *test_ref_backend(void)
{
    static const vlm_backend backend = {.abi = VLM_BACKEND_ABI,
                                        .name = "ref",
                                        .has_data = true,
                                        .is_host = true,
                                        .wide = VLMOE_F64,
                                        .open = ref_open,
                                        .close = ref_close,
                                        .alloc = ref_alloc,
                                        .release = ref_release,
                                        .upload = ref_copy,
                                        .download = ref_copy,
                                        .copy = ref_copy,
                                        .zero = ref_zero,
                                        .sync = ref_sync,
                                        .env = ref_env_of,
                                        .call_done = ref_call_done,
                                        .kernels = ref_kernels,
                                        .describe = ref_describe,
                                        .flops = ref_flops,
                                        .scratch_peak = ref_scratch_peak,
                                        .products_bytes = ref_scratch_peak,
                                        .reserve = ref_reserve};
    return &backend;
}
