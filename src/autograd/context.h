/* Inside of a context: device, parameter registry with its slabs, step arena, error text. */
#ifndef VLM_CONTEXT_H
#define VLM_CONTEXT_H

#include "backend.h"
#include "base_heap.h"
#include "base_spans.h"
#include "base_stack.h"
#include "comm_ranks.h"
#include "tensor.h"
#include "vlmoe/context.h"

/* What a parameter is for. Decides decay (matrices and embeddings only) and how a report groups it. */
typedef enum vlm_role {
    VLM_ROLE_MATRIX,    /* weights of products: have a compute copy; decay     */
    VLM_ROLE_EMBEDDING, /* word tables: wide only, unless also used as decoder */
    VLM_ROLE_ROUTER,    /* router weights: wide only; decay                    */
    VLM_ROLE_BIAS,
    VLM_ROLE_NORM,
    VLM_ROLE_POSITION,
    VLM_ROLE_VECTOR     /* [CLS], mask and type vectors, layer scale            */
} vlm_role;

struct vlm_param {
    char *name;        /* "blocks.1.ffn_v.experts.{e}.fc1.weight": {e} stands for the global expert id */
    vlm_role role;
    int64_t n_experts; /* of the model; 0 = plain; else the tensor's first axis is the expert, of those that this rank holds: */
    int64_t first_expert, n_local; /* global ids first_expert .. + n_local - 1; all of them where there is one rank; 0, 0 = plain */
    bool trained;      /* false: frozen, no gradient */
    bool decays;
    double lr_scale;   /* times the scheduled rate */
    double init_std;   /* > 0: normal cut at one deviation; else the constant init_value */
    double init_value;
    bool init_equal;   /* per expert: every expert starts as expert 0 */
    int64_t index;     /* in the registry */
    int64_t at;        /* first element in the slabs, or in its spread (autograd_spread.h) */
    int64_t first_piece, n_pieces; /* in ctx->pieces */
    void *copy;        /* compute copy (ct) of a MATRIX (or tied EMBEDDING); equals tensor.data when ct is wide; NULL for other roles */
    void *grad;        /* wide: what backward adds to, in the gradient slab; NULL when frozen. The sum over the step's groups, but: */
    int64_t chain;     /* > 0: grad is the sum of a chain of this many groups, and is added to total when the chain ends (experts
                          of which a step has more groups than S, see comm_layout.h) */
    void *total;       /* the sum over the step's groups: grad, or the chains' sum; NULL when frozen, or where ranks share it in pieces */
    bool has_copy;
    int uses;          /* nodes of the present recording that differentiate into it */
    void *share;       /* this tape's share when it has several uses, added to grad at the end of backward; step arena */
    bool share_is_set;
    int64_t n_shares;  /* one behind the other: of each group whose rows this rank's experts have, else 1 */
    struct vlm_deferred *deferred; /* its gradient waits for the end of the step; see autograd_defer.h */
    vlmoe_tensor tensor; /* dtype wide, data = master values; NULL: ranks have them in pieces, and this one computes with the copy */
};

/* A run of elements of one file tensor (a parameter, or one expert of it) that one rank owns: its master values, sum of gradients and
 * moments. Pieces begin at multiples of VLMK_NORM_BLOCK elements. On one rank they are the file tensors. */
typedef struct vlm_piece {
    vlm_param *param;
    int64_t expert;   /* global id; -1: param has no experts */
    int64_t first, n; /* elements of the file tensor */
    int owner;        /* rank */
    /* On the owner alone, else NULL and 0: */
    void *value;      /* [n] wide: master values */
    void *grad;       /* [n] wide: sum over the step's groups; NULL when frozen */
    void *copy;       /* [n] compute: where they are computed with in that type as well; NULL = nowhere */
    int64_t moment;   /* first element in each half of the moments; trained ones only */
} vlm_piece;

struct vlmoe_context {
    const vlm_backend *backend;
    vlm_device *device;
    const vlmk_table *kernels;
    vlmoe_dtype compute, wide;
    uint64_t seed;
    vlm_log log;
    vlmoe_error error;
    size_t step_bytes;
    vlm_heap arena;          /* one recording's activations */
    void *arena_memory;
    vlm_param **params;      /* [n_params] in order of creation */
    int64_t n_params;
    bool built;              /* slabs exist; no more parameters */
    int64_t n_elements;      /* of the slabs: every parameter starts at a multiple of 64 elements; */
    int64_t n_trained;       /* those that are trained come first, and gradients and moments are theirs alone */
    void *master, *grads, *copies; /* slabs [n_elements] wide, [n_trained] wide, [n_elements] ct (copies NULL when ct is wide) */
    void *totals;            /* slab [n_totals] wide of the totals of parameters with chains; NULL = none has */
    int64_t n_totals;
    vlmoe_dtype moment_dtype; /* wide, or BF16; set before there are moments */
    int64_t n_moments;       /* elements of each moment: n_trained on one rank */
    void *moments;           /* [2, n_moments] moment_dtype: m then v; made by the first optimiser step or vlm_ctx_moments */
    int64_t groups, groups_done; /* of a step (0 = unknown: one chain); since vlmoe_grad_zero, on all ranks */
    vlm_piece *pieces;       /* [n_pieces] of all ranks: in registry order, experts by global id, then by first */
    int64_t n_pieces;
    struct vlm_deferral *deferral; /* gradients that wait for the end of a step, or NULL */
    struct vlmoe_tape *tape; /* the open recording, or NULL */
    vlm_stack host;          /* nodes, tensors and lists of a recording */
    vlm_spans *spans;        /* of a profile; NULL = not measured */
    const vlm_ranks *ranks;  /* this context is one rank's; borrowed; NULL = there is one */
    size_t bucket_bytes;     /* of gradients that travel at once; 32 MiB unless set before there are slabs */
    struct vlm_spreads *spreads; /* with ranks: parameters whose gradients several of them add; these are not in the slabs */
};

/* One kernel call: VLM_KERNEL(ctx, layer_norm_fwd, &args). A failure is written to ctx->error with the kernel's name. */
#define VLM_KERNEL(ctx, name, args) vlm_kernel_done((ctx), (ctx)->kernels->name((ctx)->backend->env((ctx)->device), (args)), #name)
vlmoe_status vlm_kernel_done(vlmoe_context *ctx, int code, const char *name);

/* Where a call on ctx that starts now leaves its reason: cleared, unless an open recording has failed and its text must stay. */
vlmoe_error *vlm_ctx_error(vlmoe_context *ctx);

/* This context is one of several ranks (which must outlive it), from here on.  Errors: STATE (slabs exist already). */
vlmoe_status vlm_ctx_join(vlmoe_context *ctx, const vlm_ranks *ranks);
int vlm_ctx_rank(const vlmoe_context *ctx); /* 0 where there is one */
int vlm_ctx_size(const vlmoe_context *ctx);
/* A step has this many groups, on all ranks together: gradients of experts are summed in chains (comm_layout.h), and the caller says
 * after each group that it is done (vlm_reduce_micro_step). Ranks know their number: not needed after vlm_ctx_join.
 * Errors: STATE (slabs exist already), ARG (< 1). */
vlmoe_status vlm_ctx_groups(vlmoe_context *ctx, int64_t groups);
/* n more groups are in the gradients: ends chains that are complete.  Errors: those of kernels. */
vlmoe_status vlm_grad_groups_done(vlmoe_context *ctx, int64_t n);
/* Micro-steps whose rows of experts may wait together (autograd_defer.h): those of the shortest chain.  Built contexts. */
int64_t vlm_grad_chain_steps(const vlmoe_context *ctx);
/* What parameters and their training state take on this rank, built or to be built (the same arithmetic on a device without data). */
typedef struct vlm_state_bytes {
    size_t values;    /* wide: what is computed with, and what is owned */
    size_t copies;    /* compute copies */
    size_t gradients; /* of a micro-step, and sums over groups */
    size_t moments;   /* there or not yet */
    size_t buckets;   /* where gradients of other ranks arrive */
} vlm_state_bytes;
vlm_state_bytes vlm_ctx_state_bytes(const vlmoe_context *ctx);
/* A new parameter; spec's name (copied), role, n_experts, trained, decays, lr_scale, init_*, init_equal, has_copy are taken.
 * Errors: ARG (name taken), SHAPE, STATE (already built), NOMEM. */
vlmoe_status vlm_param_add(vlmoe_context *ctx, const vlm_param *spec, int rank, const int64_t *dim, vlmoe_tensor **out);
vlmoe_status vlm_ctx_build(vlmoe_context *ctx);            /* slabs; idempotent */
vlmoe_status vlm_ctx_init_params(vlmoe_context *ctx);      /* values by each spec from VLM_STREAM_INIT, keyed by (index, expert); refreshes copies */
/* Values of elements first .. first + n - 1 of a file tensor (expert: global id, or -1), to wherever this rank has any of them. Copies of
 * a tensor whose data this rank has are the caller's to refresh.  Errors: DEVICE, NOMEM. */
vlmoe_status vlm_param_put(vlm_param *param, int64_t expert, int64_t first, int64_t n, const void *host);
vlmoe_status vlm_ctx_refresh_copies(vlmoe_context *ctx);   /* compute copies from masters, after masters were written */
vlmoe_status vlm_ctx_moments(vlmoe_context *ctx);          /* zeroed moments, if there are none yet */
void *vlm_piece_moment(const vlmoe_context *ctx, const vlm_piece *piece, int which); /* of an owned, trained piece: 0 = m, 1 = v */
int64_t vlm_piece_blocks(const vlm_piece *piece); /* of VLMK_NORM_BLOCK elements; the last may be shorter */
static inline bool vlm_piece_is_mine(const vlm_piece *piece, int rank) { return piece->owner == rank; }
/* "name" of expert e, i.e. {e} replaced; plain names are copied. Caller frees with vlm_free. */
char *vlm_param_expert_name(const vlm_param *param, int64_t expert);
int64_t vlm_param_elements(const vlm_param *param);        /* what this rank has of it: the tensor */
int64_t vlm_param_file_elements(const vlm_param *param);   /* of one file tensor: one expert, or all of a plain parameter */
static inline int64_t vlm_param_files(const vlm_param *param) { return param->n_experts > 0 ? param->n_experts : 1; } /* in the model */
/* From here on kernels and operations are recorded in spans (borrowed), until vlm_ctx_unwatch; numbers stay the same.  Errors: NOMEM,
 * STATE (watched already, or a recording is open). */
vlmoe_status vlm_ctx_watch(vlmoe_context *ctx, vlm_spans *spans);
void vlm_ctx_unwatch(vlmoe_context *ctx); /* also when not watched */
/* Like vlmoe_context_create, for a backend that is not in the registry (ref, in tests). */
vlmoe_status vlm_ctx_create_on(const vlm_backend *backend, const vlmoe_context_params *params, vlmoe_context **out, vlmoe_error *error);

#endif
