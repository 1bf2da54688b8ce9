/* The element types that our safetensors files know: one list for reader and writer. */
#include "ckpt_safetensors.h"

#include "ckpt_safetensors_types.h"

const vlm_st_type vlm_st_types[] = {
    {"F32", VLMOE_F32, 4}, {"BF16", VLMOE_BF16, 2}, {"F64", VLMOE_F64, 8},
    {"I32", VLMOE_I32, 4}, {"I64", VLM_ST_I64, 8},  {"U8", VLMOE_U8, 1},
};
const int vlm_st_n_types = VLM_COUNT(vlm_st_types);

const char *vlm_st_dtype_name(vlm_st_dtype dtype)
{
    for (int i = 0; i < vlm_st_n_types; i++)
        if (vlm_st_types[i].dtype == dtype) return vlm_st_types[i].name;
    return "?";
}

size_t vlm_st_dtype_size(vlm_st_dtype dtype)
{
    for (int i = 0; i < vlm_st_n_types; i++)
        if (vlm_st_types[i].dtype == dtype) return vlm_st_types[i].bytes;
    return 0;
}
