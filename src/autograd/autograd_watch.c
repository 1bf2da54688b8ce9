/* Where numbers went wrong: outputs of a watched recording are looked at as they are made. */
#include <math.h>
#include <stdio.h>
#include "autograd_internal.h"

void vlm_tape_watch(vlmoe_tape *tape)
{
    tape->is_watched = tape->ctx->backend->has_data;
}

bool vlm_tape_first_bad(const vlmoe_tape *tape, char *text, size_t bytes)
{
    if (!tape->bad_op) return false;
    const char *where = tape->bad_where[0] ? tape->bad_where : "the model";
    snprintf(text, bytes, "%s in %s", tape->bad_op, where);
    return true;
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

void vlm_watch(vlmoe_tape *tape, const vlm_node *node)
{
    if (tape->bad_op || all_finite(tape->ctx, node->output)) return;
    tape->bad_op = node->op->name;
    tape->bad_where = tape->where;
}
