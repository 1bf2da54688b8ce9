/* Builders of operations inside src/: the general forms behind include/vlmoe/ops.h. Each op's shape rule, forward and backward stand
 * together in op_<family>.c; ops.def is the list. Pointers named d_* are device memory that lives as long as the recording. */
#ifndef VLM_OP_H
#define VLM_OP_H

#include "tape.h"
#include "vlmoe/ops.h"

#define VLM_OP(name, differentiable, reads, remake, cases) VLM_OP_##name,
enum vlm_op_id {
#include "ops.def"
    VLM_OP_COUNT
};
#undef VLM_OP
#define VLM_OP(name, differentiable, reads, remake, cases)               \
    vlmoe_status vlm_##name##_infer(vlmoe_tape *tape, vlm_node *node);   \
    vlmoe_status vlm_##name##_forward(vlmoe_tape *tape, vlm_node *node); \
    vlmoe_status vlm_##name##_backward(vlmoe_tape *tape, vlm_node *node);
#include "ops.def"
#undef VLM_OP
vlmoe_status vlm_linear_remake(vlmoe_tape *tape, vlm_node *node); /* the activation of what was saved before it */
extern const vlm_op_def vlm_ops[VLM_OP_COUNT];

/* Linear layer, or with n_groups > 0 one product per group of rows: w [G, out, in], b [G, out] or NULL, d_offset [G + 1] as in vlmk.h.
 * With n_parts > 1 the rows of a group are in n_parts runs one after the other (d_run_offset), and the gradients of w and b are sums
 * over the runs, in order, as if each had been recorded by itself.
 * The weight's values are taken in x's dtype (compute copy or master). A weight may be an activation: then y is a product of two. out_dtype: x's dtype or wide. Rows past d_offset[G] of the
 * result, and of the gradient of x, are left undefined: what reads them must know the routing, as combine and dispatch do. */
typedef struct vlm_linear_opts {
    vlmoe_act act;
    vlmoe_dtype out_dtype;
    int64_t n_groups;        /* 0 = plain, w [out, in] */
    const int32_t *d_offset; /* [G + 1], n_groups > 0 only */
    int64_t n_parts;         /* 0 = 1 */
    const int32_t *d_run_offset; /* [G n_parts + 1], n_parts > 1 only: run p of group g begins at d_run_offset[g n_parts + p] */
} vlm_linear_opts;
vlmoe_tensor *vlm_linear(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *w, vlmoe_tensor *b, const vlm_linear_opts *opts);

/* Attention over sequences given as lists of rows: see vlmk_attention_args. Device arrays of layout are borrowed. */
typedef struct vlm_attention_layout {
    int64_t n_seq, max_len;
    const int32_t *d_offset; /* [n_seq + 1] */
    const int32_t *d_row;    /* [offset[n_seq]] */
    bool causal;
} vlm_attention_layout;
vlmoe_tensor *vlm_attention_packed(vlmoe_tape *tape, vlmoe_tensor *qkv, int64_t heads, const vlm_attention_layout *layout);

/* out[n, :] = sum over j of table_j[d_index_j[n], :], n_tables <= 6, all of one width. Tables: parameters (wide) or activations.
 * Output in dtype; rows = n. The same function with one table gathers rows. */
vlmoe_tensor *vlm_gather_sum(vlmoe_tape *tape, int n_tables, vlmoe_tensor *const *table, const int32_t *const *d_index, int64_t n, vlmoe_dtype dtype);

/* The adjoint: out[j, :] = factor * sum over rows i with d_index[i] = j of x[i, :]; -1 goes nowhere. x wide, out [n, cols] wide. With
 * factor 1 / count it is the mean of each target's rows. */
vlmoe_tensor *vlm_scatter_sum(vlmoe_tape *tape, vlmoe_tensor *x, const int32_t *d_index, int64_t n, double factor);

/* out = base, and for each part out[begin.., :] += row_scale * col_scale * y. Parts are disjoint runs of rows. */
enum { VLM_MAX_PARTS = 3 };
typedef struct vlm_residual_part {
    vlmoe_tensor *y;       /* [count, cols] */
    int64_t begin;         /* first row in base */
    const void *d_row_scale; /* [rows of base] wide, NULL = 1: drop path, indexed by row of base */
} vlm_residual_part;
/* col_scale: layer scale [cols], a parameter, or NULL. */
vlmoe_tensor *vlm_residual(vlmoe_tape *tape, vlmoe_tensor *base, int n_parts, const vlm_residual_part *parts, vlmoe_tensor *col_scale);

/* Weighted cross-entropy: scalar = sum of d_row_weight * nll. d_nll [M] wide and d_correct [M] i32 are kept for metrics. */
typedef struct vlm_ce_result {
    void *d_nll;         /* [M] wide */
    int32_t *d_correct;  /* [M] */
} vlm_ce_result;
vlmoe_tensor *vlm_cross_entropy_rows(vlmoe_tape *tape, vlmoe_tensor *logits, const int32_t *d_target, const void *d_row_weight, vlm_ce_result *out);
/* Loss of rows against classes with scores, see class_loss_fwd in vlmk.h: scalar = sum of d_row_weight * row_loss. */
typedef struct vlm_class_targets {
    int kind;                 /* VLMK_CLASS_* */
    double smoothing;         /* softmax only */
    const int32_t *d_offset;  /* [M + 1] */
    const int32_t *d_label;   /* [offset[M]] */
    const void *d_score;      /* [offset[M]] wide */
    const void *d_row_weight; /* [M] wide */
} vlm_class_targets;
typedef struct vlm_class_result {
    void *d_row_loss; /* [M] wide */
    int32_t *d_best;  /* [M] class of the largest logit */
} vlm_class_result;
vlmoe_tensor *vlm_class_loss(vlmoe_tape *tape, vlmoe_tensor *logits, const vlm_class_targets *targets, vlm_class_result *out);
/* exp(s) x, s one element, both wide. */
vlmoe_tensor *vlm_temper(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_tensor *s);
vlmoe_tensor *vlm_mse_rows(vlmoe_tape *tape, vlmoe_tensor *x, const void *d_target, const void *d_row_weight, void **d_row_loss);
vlmoe_tensor *vlm_act(vlmoe_tape *tape, vlmoe_tensor *x, vlmoe_act act);
vlmoe_tensor *vlm_l2_norm(vlmoe_tape *tape, vlmoe_tensor *x, double eps);
/* z [M, C] unit rows -> code[index[z]]; gradient passes straight through to z. d_index_out [M] is kept. code is a constant [n, C]. */
vlmoe_tensor *vlm_quantise(vlmoe_tape *tape, vlmoe_tensor *z, const void *d_code, int64_t n_codes, const int32_t **d_index_out);

/* One routing call over n_sets routing sets of tokens. */
typedef struct vlm_route_policy {
    int64_t E, K;
    int64_t n_sets;
    const int32_t *set_offset; /* [n_sets + 1] HOST; copied */
    double capacity_factor;    /* 0 = dropless; taken in thousandths: C = ceil(K T cf / E) in integers */
    int64_t capacity_multiple, capacity_min;
    bool priority;             /* Batch Priority Routing */
    int renorm;                /* VLMK_RENORM_* */
    double noise_std;          /* sigma = noise_std / E in TRAIN mode */
    uint64_t site;             /* names the place: key = (seed, ROUTER, step, group, site) */
    double weight[VLMK_N_LOSSES];
    double global_experts;
} vlm_route_policy;
/* What a routing decided; device arrays kept across segments. */
typedef struct vlm_routing {
    int64_t T, E, K, n_sets;
    double sigma;
    int32_t *d_set_offset; /* [n_sets + 1] */
    int32_t *d_expert, *d_slot; /* [T, K] */
    int32_t *d_row_token;  /* [T K] */
    int32_t *d_expert_offset; /* [E + 1] */
    int32_t *d_load, *d_served; /* [n_sets, E] */
    void *d_noisy, *d_clean, *d_gates, *d_priority; /* [T, E] x 3, [T] wide */
    void *d_losses;        /* [n_sets, VLMK_N_LOSSES] wide; set by vlm_router_losses */
    void *d_weight;        /* [T, K] wide: combine weights */
    int32_t *capacity;     /* [n_sets] host; -1 = dropless */
} vlm_routing;
/* Capacity of a set of T tokens (docs/MATH.md); -1 when factor is 0. */
int64_t vlm_capacity(int64_t T, int64_t E, int64_t K, double factor, int64_t multiple, int64_t minimum);
/* logits [T, E] wide -> combine weights [T, K]; *routing lives as long as the recording. */
vlmoe_tensor *vlm_route(vlmoe_tape *tape, vlmoe_tensor *logits, const vlm_route_policy *policy, vlm_routing **routing);
/* The weighted balance losses as one element: pass it to vlmoe_loss_add.. */
vlmoe_tensor *vlm_router_losses(vlmoe_tape *tape, vlmoe_tensor *logits, const vlm_route_policy *policy, vlm_routing *routing);
/* How dispatched rows go to the ranks that hold their experts: see op_exchange.c. */
typedef struct vlm_exchange_policy {
    bool is_fixed;         /* every rank sends `slots` places for each expert, whatever is in them; needs a capacity */
    int64_t slots;         /* the most rows of any group that an expert may take; is_fixed only */
    double receive_factor; /* exact only: a rank takes up to this many times the mean rows of its set, in thousandths; 0 = any number */
} vlm_exchange_policy;
typedef struct vlm_exchange_block {
    int64_t rows, at; /* of a rank, and where they begin */
} vlm_exchange_block;
/* One routing's rows on the ranks of a set. What other ranks have told is kept across segments. */
typedef struct vlm_exchange {
    vlm_routing *routing;
    vlm_comm *set;
    int64_t R, member;     /* ranks of the set, this one's number in it */
    int64_t n_experts, E;  /* all, and of this rank */
    bool is_fixed;
    int64_t slots;         /* 0 = exact */
    int64_t n_home;        /* rows of this rank's group, T K, of which the first are served */
    int64_t n_arrival, n_rows; /* places of what arrives, and rows of the result; exact: rows that arrive */
    vlm_exchange_block *home, *away; /* [R] rows (or slots) to and from each rank */
    int32_t *home_bound, *bound;     /* exact only, host: [n_experts + 1], [R, E + 1] as in exchange_plan */
    int32_t *d_bound;                /* [R, E + 1] */
    int32_t *d_run_offset, *d_expert_offset; /* [E R + 1], [E + 1] of the result: see exchange_plan */
    int32_t *d_arrival, *d_place;    /* [n_rows], [n_arrival] */
    int32_t *d_slot, *d_home;        /* is_fixed only: slot of each own row [n_home], own row of each slot [n_experts slots] */
} vlm_exchange;
/* Collective, of the ranks that share routing's experts: how many rows come and where they will stand.
 * Fails on all ranks where a rank would receive more rows than policy allows. */
vlm_exchange *vlm_exchange_make(vlmoe_tape *tape, vlm_routing *routing, const vlm_exchange_policy *policy);
/* Collective, backward too. To experts: [T K, D] of dispatch -> [n_rows, D] by (local expert, rank); from experts: the inverse, rows that
 * serve nobody are undefined or zeros. Fixed: rows past d_expert_offset[E] are zeros. */
typedef enum vlm_direction { VLM_TO_EXPERTS, VLM_FROM_EXPERTS } vlm_direction;
vlmoe_tensor *vlm_exchange_rows(vlmoe_tape *tape, vlmoe_tensor *rows, const vlm_exchange *exchange, vlm_direction direction);
vlmoe_tensor *vlm_dispatch(vlmoe_tape *tape, vlmoe_tensor *x, vlm_routing *routing);                          /* [T K, D] */
vlmoe_tensor *vlm_combine(vlmoe_tape *tape, vlmoe_tensor *rows, vlmoe_tensor *weight, vlm_routing *routing);  /* [T, D] */

#endif
