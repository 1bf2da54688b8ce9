/* Element types and shape arithmetic, and the read side of public tensors. Touches no data. */
#include <stdio.h>
#include "tensor.h"

size_t vlm_dtype_bytes(vlmoe_dtype dtype)
{
    switch (dtype) {
    case VLMOE_F32:
        return 4;
    case VLMOE_BF16:
        return 2;
    case VLMOE_I32:
        return 4;
    case VLMOE_U8:
        return 1;
    case VLMOE_F64:
        return 8;
    default:
        return 0;
    }
}

const char *vlm_dtype_name(vlmoe_dtype dtype)
{
    switch (dtype) {
    case VLMOE_F32:
        return "f32";
    case VLMOE_BF16:
        return "bf16";
    case VLMOE_I32:
        return "i32";
    case VLMOE_U8:
        return "u8";
    case VLMOE_F64:
        return "f64";
    default:
        return "unknown";
    }
}

bool vlm_shape_count(int rank, const int64_t *dim, int64_t *out)
{
    int64_t count = 1;
    if (rank < 0 || rank > VLMOE_MAX_RANK) return false;
    for (int i = 0; i < rank; i++)
        if (dim[i] < 0 || !vlm_mul_i64(count, dim[i], &count)) return false;
    *out = count;
    return true;
}

int64_t vlm_count(const vlmoe_tensor *t)
{
    return vlm_rows(t) * vlm_cols(t);
}

int64_t vlm_rows(const vlmoe_tensor *t)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < t->rank; i++) rows *= t->dim[i];
    return rows;
}

int64_t vlm_cols(const vlmoe_tensor *t)
{
    return t->rank ? t->dim[t->rank - 1] : 1;
}

const char *vlm_shape_text(const vlmoe_tensor *t, char text[VLM_SHAPE_TEXT])
{
    int used = snprintf(text, VLM_SHAPE_TEXT, "[");
    for (int i = 0; i < t->rank && used < VLM_SHAPE_TEXT; i++)
        used += snprintf(text + used, (size_t)(VLM_SHAPE_TEXT - used), i ? ", %lld" : "%lld",
                         (long long)t->dim[i]);
    if (used < VLM_SHAPE_TEXT) snprintf(text + used, (size_t)(VLM_SHAPE_TEXT - used), "]");
    return text;
}

vlmoe_dtype vlmoe_tensor_dtype(const vlmoe_tensor *t)
{
    return t->dtype;
}

int vlmoe_tensor_rank(const vlmoe_tensor *t)
{
    return t->rank;
}

int64_t vlmoe_tensor_dim(const vlmoe_tensor *t, int axis)
{
    if (axis < 0) axis += t->rank;
    return axis >= 0 && axis < t->rank ? t->dim[axis] : 0;
}

int64_t vlmoe_tensor_count(const vlmoe_tensor *t)
{
    return vlm_count(t);
}

size_t vlmoe_tensor_bytes(const vlmoe_tensor *t)
{
    return (size_t)vlm_count(t) * vlm_dtype_bytes(t->dtype);
}
