/* Where numbers went wrong: the first recorded node whose output holds a NaN or an infinity. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "train_group.h"

vlmoe_status vlm_scalar_read(vlmoe_tape *tape, const vlmoe_tensor *scalar, double *out)
{
    const vlm_backend *backend = tape->ctx->backend;
    float narrow = 0.0f;
    if (!scalar) return tape->status ? tape->status : VLMOE_E_INTERNAL;
    if (scalar->dtype == VLMOE_F64)
        return backend->download(tape->ctx->device, out, scalar->data, sizeof *out);
    VLM_TRY(backend->download(tape->ctx->device, &narrow, scalar->data, sizeof narrow));
    *out = narrow;
    return VLMOE_OK;
}

static bool all_finite(vlmoe_context *ctx, const vlmoe_tensor *t)
{
    enum { CHUNK = 4096 };
    float wide[CHUNK];
    uint16_t narrow[CHUNK];
    bool is_bf16 = t->dtype == VLMOE_BF16;
    if (t->dtype != VLMOE_F32 && !is_bf16) return true;
    for (int64_t at = 0, n = vlm_count(t); at < n; at += CHUNK) {
        int64_t m = VLM_MIN((int64_t)CHUNK, n - at);
        const char *from = (const char *)t->data + (size_t)at * vlm_dtype_bytes(t->dtype);
        if (ctx->backend->download(ctx->device, is_bf16 ? (void *)narrow : wide, from,
                                   (size_t)m * vlm_dtype_bytes(t->dtype)))
            return true;
        for (int64_t i = 0; i < m; i++)
            if (is_bf16 ? (narrow[i] & 0x7f80) == 0x7f80 : !isfinite(wide[i])) return false;
    }
    return true;
}

const char *vlm_tape_first_bad(vlmoe_tape *tape)
{
    const vlm_node *bad = NULL;
    for (const vlm_node *node = tape->last; node;
         node = node->previous) /* newest first: the last hit is the earliest */
        if (strcmp(node->op->name, "dispatch") && node->output &&
            !all_finite(tape->ctx, node->output))
            bad = node;
    if (!bad) return NULL;
    char text[256];
    snprintf(text, sizeof text, "%s in %s", bad->op->name, bad->where ? bad->where : "the model");
    char *out = vlm_tape_host(tape, strlen(text) + 1);
    if (out) memcpy(out, text, strlen(text) + 1);
    return out;
}
