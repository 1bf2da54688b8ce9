/* Host data on its way into a recording, and wide numbers on their way out. */
#include <string.h>
#include "nn.h"

/* Through a small piece of the stack, so that a step asks for no memory. */
enum { PIECE = 1024 };

void *vlm_upload_wide(vlmoe_tape *tape, const double *host, int64_t n)
{
    vlmoe_context *ctx = tape->ctx;
    bool is_f32 = ctx->wide == VLMOE_F32;
    size_t element = vlm_dtype_bytes(ctx->wide);
    char *block = vlm_tape_device(tape, (size_t)n * element);
    float narrow[PIECE];
    vlmoe_status st = VLMOE_OK;
    if (!block) return NULL;
    for (int64_t at = 0; at < n && !st; at += PIECE) {
        int64_t count = VLM_MIN(n - at, PIECE);
        for (int64_t i = 0; i < count && is_f32; i++) narrow[i] = (float)host[at + i];
        const void *from = is_f32 ? (const void *)narrow : host + at;
        st = ctx->backend->upload(ctx->device, block + (size_t)at * element, from,
                                  (size_t)count * element);
        if (!st) st = ctx->backend->sync(ctx->device, &ctx->error); /* the piece is used again */
    }
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
    float narrow[PIECE];
    const char *from = src;
    for (int64_t at = 0; at < n; at += PIECE) {
        int64_t count = VLM_MIN(n - at, PIECE);
        VLM_TRY(ctx->backend->download(ctx->device, narrow, from + (size_t)at * sizeof *narrow,
                                       (size_t)count * sizeof *narrow));
        for (int64_t i = 0; i < count; i++) out[at + i] = (double)narrow[i];
    }
    return VLMOE_OK;
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
