/* Host data on its way into a recording, and wide numbers on their way out. */
#include <string.h>
#include "nn.h"

void *vlm_upload_wide(vlmoe_tape *tape, const double *host, int64_t n)
{
    vlmoe_context *ctx = tape->ctx;
    size_t element = vlm_dtype_bytes(ctx->wide);
    void *block = vlm_tape_device(tape, (size_t)n * element);
    float *narrow = NULL;
    if (!block) return NULL;
    if (ctx->wide == VLMOE_F32) {
        narrow = vlm_alloc_array((size_t)n, sizeof *narrow);
        if (!narrow)
            return vlm_poison(tape, VLMOE_E_NOMEM,
                              "no memory for %lld numbers on their way to the device",
                              (long long)n);
        for (int64_t i = 0; i < n; i++) narrow[i] = (float)host[i];
    }
    const void *from = narrow ? (const void *)narrow : host;
    vlmoe_status st = ctx->backend->upload(ctx->device, block, from, (size_t)n * element);
    if (!st) st = ctx->backend->sync(ctx->device, &ctx->error);
    vlm_free(narrow);
    return st ? vlm_poison(tape, st, "upload of %lld numbers to device %s failed", (long long)n,
                           ctx->backend->name)
              : block;
}

vlmoe_status vlm_download_wide(vlmoe_context *ctx, const void *src, int64_t n, double *out)
{
    if (!ctx->backend->has_data)
        return vlm_fail(&ctx->error, VLMOE_E_UNSUPPORTED, "device %s holds no data to read",
                        ctx->backend->name);
    if (ctx->wide == VLMOE_F64)
        return ctx->backend->download(ctx->device, out, src, (size_t)n * sizeof *out);
    float *narrow = vlm_alloc_array((size_t)n, sizeof *narrow);
    if (!narrow)
        return vlm_fail(&ctx->error, VLMOE_E_NOMEM,
                        "no memory for %lld numbers read from the device", (long long)n);
    vlmoe_status st = ctx->backend->download(ctx->device, narrow, src, (size_t)n * sizeof *narrow);
    for (int64_t i = 0; i < n && !st; i++) out[i] = (double)narrow[i];
    vlm_free(narrow);
    return st;
}

vlmoe_tensor *vlm_patch_vectors(vlmoe_tape *tape, vlmoe_dtype dtype, int64_t n,
                                const uint8_t *pixels, const vlm_picture_format *format)
{
    int64_t side = format->size / format->patch;
    int64_t dim[2] = {n * side * side, 3 * format->patch * format->patch};
    const uint8_t *d_pixels =
        vlm_tape_upload(tape, pixels, (size_t)(n * format->size * format->size * 3));
    vlmoe_tensor *out = vlm_tensor_new(tape, dtype, 2, dim);
    if (!d_pixels || !out) return NULL;

    vlmk_patchify_args args = {.out_dtype = (int)dtype,
                               .B = n,
                               .height = format->size,
                               .width = format->size,
                               .patch = format->patch,
                               .pixels = d_pixels,
                               .out = out->data};
    memcpy(args.mean, format->mean, sizeof args.mean);
    memcpy(args.deviation, format->deviation, sizeof args.deviation);
    vlmoe_status st = VLM_KERNEL(tape->ctx, patchify, &args);
    if (st) return vlm_poison(tape, st, "patch vectors of %lld pictures failed", (long long)n);
    return out;
}
