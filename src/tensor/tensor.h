/* What a tensor is: shape, type, place. Arithmetic on shapes only; data belongs to arenas and slabs. */
#ifndef VLM_TENSOR_H
#define VLM_TENSOR_H

#include "base.h"
#include "vlmoe/tensor.h"

typedef struct vlm_param vlm_param;

struct vlmoe_tensor {
    struct vlmoe_context *ctx; /* owner; borrowed */
    vlmoe_dtype dtype;
    int rank;
    int64_t dim[VLMOE_MAX_RANK];
    void *data;             /* on the device; of a parameter: the wide master values; NULL while it is given back */
    void *grad;             /* activations: gradient of the same dtype, NULL until backward reaches it; unused in views and parameters */
    bool grad_is_set;       /* something was written to grad */
    bool wants_grad;        /* a parameter that is trained lies upstream */
    vlm_param *param;       /* parameters only, else NULL */
    vlmoe_tensor *base;     /* a view of rows of base, else NULL */
    int64_t base_row;       /* first row of base */
    /* Lifetime of an activation's data; see vlm_tape_release. Counted at the base of views. */
    bool owns_data;         /* data is a block of its own in the step arena */
    bool has_views;
    bool is_released;       /* the forward pass reads it no more */
    int n_readers;          /* recorded nodes whose backward reads it */
    struct vlm_node *maker; /* the recorded node whose output it is, else NULL */
};

size_t vlm_dtype_bytes(vlmoe_dtype dtype);       /* 0 for an unknown one */
const char *vlm_dtype_name(vlmoe_dtype dtype);   /* "f32" */
/* Elements; false when a dim is negative or the product overflows. Rank 0 is one element. */
bool vlm_shape_count(int rank, const int64_t *dim, int64_t *out);
int64_t vlm_count(const vlmoe_tensor *t);
int64_t vlm_rows(const vlmoe_tensor *t);         /* product of all dims but the last; 1 for rank 0 and 1 */
int64_t vlm_cols(const vlmoe_tensor *t);         /* the last dim; 1 for rank 0 */
/* "[2, 3]" into a static-size buffer owned by the caller; returns text. */
enum { VLM_SHAPE_TEXT = 128 };
const char *vlm_shape_text(const vlmoe_tensor *t, char text[VLM_SHAPE_TEXT]);

#endif
