/* Differentiable operations. Recording calls return a tensor that lives until vlmoe_tape_end(), or NULL after a failure; a NULL
 * tensor argument gives NULL, so a chain needs one check of the tape at its end. "wide" is f32 (f64 on the reference device). */
#ifndef VLMOE_OPS_H
#define VLMOE_OPS_H

#include "vlmoe/tape.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vlmoe_act { VLMOE_ACT_NONE = 0, VLMOE_ACT_GELU = 1, VLMOE_ACT_TANH = 2 } vlmoe_act;

/* A constant. host is copied; F32 data becomes the context's wide or compute type when dtype says so (VLMOE_BF16 converts). */
VLMOE_API vlmoe_tensor *vlmoe_input(vlmoe_tape *tape, vlmoe_dtype dtype, int rank, const int64_t *shape, const void *host);

/* x in another float type. */
VLMOE_API vlmoe_tensor *vlmoe_cast(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_dtype dtype);

/* y = act(x w^T + b).  x [..., in] f32 or bf16; w [out, in]; b [out]. y has x's dtype. */
VLMOE_API vlmoe_tensor *vlmoe_linear(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *w, vlmoe_tensor *b, vlmoe_act act);
/* The same without a bias. */
VLMOE_API vlmoe_tensor *vlmoe_linear_no_bias(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *w, vlmoe_act act);

/* Layer norm over the last axis; y in dtype (the compute type, or wide). */
VLMOE_API vlmoe_tensor *vlmoe_layer_norm(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *gain, vlmoe_tensor *bias, double eps, vlmoe_dtype dtype);

/* Self-attention over packed sequences. qkv [N, 3 H hd]: rows q, k, v, head by head; sequence s is rows offset[s] .. offset[s+1]-1
 * (host array [n_seq + 1]). causal: each row sees itself and earlier rows. Returns [N, H hd]. */
VLMOE_API vlmoe_tensor *vlmoe_attention(vlmoe_tape *tape, vlmoe_tensor *qkv, int64_t heads, int64_t n_seq, const int32_t *offset, int causal);

/* table[index[i], :]; index is a host array [n], -1 gives zeros. Returns [n, cols] in dtype of table (wide for parameters). */
VLMOE_API vlmoe_tensor *vlmoe_gather(vlmoe_tape *tape, vlmoe_tensor *table, int64_t n, const int32_t *index);

/* a + b, both wide and of one shape. */
VLMOE_API vlmoe_tensor *vlmoe_add(vlmoe_tape *tape, vlmoe_tensor *a, vlmoe_tensor *b);

/* Dropout with probability p in TRAIN mode; site names the place, so that draws of different places differ. */
VLMOE_API vlmoe_tensor *vlmoe_dropout(vlmoe_tape *tape, vlmoe_tensor *x, double p, uint64_t site);

/* Rows y_r scaled by 0 or 1/(1-p), one draw per sample; added to base: out = base + drop_path(y). sample (host) [rows] numbers the samples
 * from 0. p = 0 or PREDICT mode adds plainly. base [rows, cols] wide. */
VLMOE_API vlmoe_tensor *vlmoe_add_drop_path(vlmoe_tape *tape, vlmoe_tensor *base, vlmoe_tensor *y, double p, const int32_t *sample, uint64_t site);

/* Mean over rows with target >= 0 of -log softmax(logits)[target]; logits [N, V] wide, target host array [N], -1 = skip.
 * No row at all gives 0. Returns one element. */
VLMOE_API vlmoe_tensor *vlmoe_cross_entropy(vlmoe_tape *tape, vlmoe_tensor *logits, const int32_t *target);

/* Mean over all elements of (x - target)^2; both wide; target is a constant. */
VLMOE_API vlmoe_tensor *vlmoe_mse(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *target);

/* Sparse experts. x [T, D]; router [E, D] without bias; w1 [E, F, D], b1 [E, F], w2 [E, D, F], b2 [E, D]. Adds the balance losses it is
 * asked for to the tape's loss. */
typedef struct vlmoe_moe_params {
    size_t struct_size;
    int64_t k;                    /* experts per token                                                     */
    double capacity_factor;       /* 0 = dropless                                                          */
    int priority;                 /* 1 = Batch Priority Routing, 0 = position order                        */
    double noise_std;             /* router noise has deviation noise_std / E in TRAIN mode                */
    double importance, load, z;   /* loss weights                                                          */
    uint64_t site;                /* names the place, for its noise                                        */
} vlmoe_moe_params;
#define VLMOE_MOE_PARAMS { sizeof(vlmoe_moe_params), 1, 1.05, 1, 1.0, 0.005, 0.005, 0.0, 0 }
typedef struct vlmoe_moe_weights {
    vlmoe_tensor *router, *w1, *b1, *w2, *b2;
} vlmoe_moe_weights;
VLMOE_API vlmoe_tensor *vlmoe_moe(vlmoe_tape *tape, vlmoe_tensor *x, const vlmoe_moe_weights *weights, const vlmoe_moe_params *params);

/* AdamW over all parameters of ctx with its present gradients times grad_scale. Its moments live in ctx. step counts from 1. */
typedef struct vlmoe_adamw_params {
    size_t struct_size;
    double lr, beta1, beta2, eps, weight_decay;
    double clip;       /* 0 = none */
    double grad_scale; /* applied before the norm is taken */
} vlmoe_adamw_params;
#define VLMOE_ADAMW_PARAMS { sizeof(vlmoe_adamw_params), 1e-3, 0.9, 0.999, 1e-8, 0.0, 0.0, 1.0 }
/* grad_norm may be NULL.  Errors: NUMERIC (gradient norm not finite; nothing changed), ARG, DEVICE. */
VLMOE_API vlmoe_status vlmoe_adamw_step(vlmoe_context *ctx, const vlmoe_adamw_params *params, int64_t step, double *grad_norm);

#ifdef __cplusplus
}
#endif
#endif
