/* What the reader and the writer of safetensors share. */
#ifndef VLM_CKPT_SAFETENSORS_TYPES_H
#define VLM_CKPT_SAFETENSORS_TYPES_H

#include "ckpt_safetensors.h"

typedef struct vlm_st_type {
    const char *name;
    vlm_st_dtype dtype;
    size_t bytes;
} vlm_st_type;
extern const vlm_st_type vlm_st_types[];
extern const int vlm_st_n_types;

#define VLM_ST_METADATA "__metadata__"
enum {
    VLM_ST_LENGTH_BYTES = 8,
    VLM_ST_MAX_HEADER = 100000000
}; /* the limit that the format's own library sets */

#endif
