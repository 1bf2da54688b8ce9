/* Inside of a recording: nodes, gradients of activations, segments that are run again in backward, kept memory. */
#ifndef VLM_TAPE_H
#define VLM_TAPE_H

#include "context.h"
#include "vlmoe/tape.h"

enum { VLM_MAX_INPUTS = 8, VLM_MAX_SAVED = 8 };

typedef struct vlm_node {
    const struct vlm_op_def *op;
    int n_inputs;
    vlmoe_tensor *input[VLM_MAX_INPUTS]; /* an optional one that is absent is NULL */
    vlmoe_tensor *output;
    const void *attr;            /* the op's own struct, host memory of the recording */
    void *saved[VLM_MAX_SAVED];  /* device memory for backward */
    struct vlm_node *previous;   /* of the same recording */
    const char *where;           /* place in the model when it was recorded, for messages; see vlm_tape_where */
    unsigned reads;              /* whose data backward reads: bit i = input i, VLM_READS_OUTPUT. From ops.def; forward may clear bits */
    bool can_remake;             /* op->remake would work. From ops.def; forward may clear it */
    bool has_peers;              /* other ranks wait in its backward, so that is called even where no gradient came. Forward sets it */
} vlm_node;
#define VLM_READS(i) (1u << (i))
#define VLM_READS_OUTPUT (1u << 31)

/* infer:    check inputs, set the output's dtype and shape (node->output is allocated after it); touches no data.
 * forward:  fill the output; keep what backward needs in node->saved.
 * backward: add to the gradient of each input that wants one, through vlm_grad_*. May read saved, and the data that node->reads names.
 * remake:   fill the output again, at less cost than a product, from saved and the inputs that node->reads names. NULL = never. */
typedef struct vlm_op_def {
    const char *name;
    int differentiable; /* 0: backward is INTERNAL, the reason stands in ops.def */
    unsigned reads;     /* whose data backward reads: VLM_READS */
    vlmoe_status (*infer)(vlmoe_tape *tape, vlm_node *node);
    vlmoe_status (*forward)(vlmoe_tape *tape, vlm_node *node);
    vlmoe_status (*backward)(vlmoe_tape *tape, vlm_node *node);
    vlmoe_status (*remake)(vlmoe_tape *tape, vlm_node *node);
} vlm_op_def;

typedef struct vlm_loss_term {
    vlmoe_tensor *scalar; /* lives in kept memory when it was recorded inside a segment */
    double weight;
    bool in_segment;      /* seeded when the segment is run again, not from outside */
} vlm_loss_term;

struct vlmoe_tape {
    vlmoe_context *ctx;
    vlmoe_mode mode;
    vlmoe_status status;
    int64_t step, group;   /* place in the run: keys of noise, dropout, drop path */
    double scale;          /* of backward */
    bool recording;        /* false in PREDICT mode and in a segment's first run: nothing is kept for backward */
    bool replaying;        /* a segment is being run again: uses, terms and kept results are not made anew */
    int segment_depth;
    bool did_backward;
    bool is_watched;       /* look at each output for numbers that are not finite; bad_where is the first place */
    const char *bad_where, *bad_op;
    vlm_node *last;
    vlm_node *differentiated; /* whose backward runs now */
    vlm_loss_term *terms;
    int n_terms, capacity_terms;
    int n_terms_seen;      /* cursor of a replay */
    int n_with_peers;      /* nodes with peers so far, those of segments counted */
    const char *where;
    struct vlm_kept *kept, *kept_cursor; /* results that segments keep, in order of recording; see vlm_keep. Cursor: the last one
                                            while recording, the next one to read back while replaying */
    vlm_stack_mark replay_floor; /* of the host memory at the start of a replay: tensors from before it outlive the replay */
};

/* Record one op: infer, allocate, forward, append. Returns the output or NULL (poisoned). attr is copied. Any required input that is
 * NULL poisons. n_inputs <= VLM_MAX_INPUTS; optional absent inputs are passed as NULL with their bit set in optional_mask. */
vlmoe_tensor *vlm_record(vlmoe_tape *tape, const vlm_op_def *op, int n_inputs, vlmoe_tensor *const *inputs, unsigned optional_mask, const void *attr, size_t attr_bytes);

/* First failure wins; returns NULL for use in `return vlm_poison(...)`. */
void *vlm_poison(vlmoe_tape *tape, vlmoe_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* True when this node's backward may run: only then forward keeps what backward needs. */
bool vlm_keeps_for_backward(const vlmoe_tape *tape, const vlm_node *node);

/* Memory of the recording. Host blocks (zeroed) and device blocks live until the tape ends (device blocks taken inside a segment's run until
 * that run ends), or until they are given back. Kept device blocks outlive segments. NULL = none left, and the tape is poisoned. */
void *vlm_tape_host(vlmoe_tape *tape, size_t bytes);
void *vlm_tape_device(vlmoe_tape *tape, size_t bytes);
void vlm_tape_give(vlmoe_tape *tape, const void *block); /* a device block before its time; NULL allowed */
void *vlm_tape_upload(vlmoe_tape *tape, const void *host, size_t bytes); /* a device block with this content */
/* In a segment's first run: a new kept block (*is_new = true). When that segment is run again: the same block (*is_new = false), so
 * that decisions made once are read back, not made again. Outside segments: a plain device block, *is_new = true. */
void *vlm_keep(vlmoe_tape *tape, size_t bytes, bool *is_new);

/* A bare activation tensor (no node): shape, dtype, fresh device memory. */
vlmoe_tensor *vlm_tensor_new(vlmoe_tape *tape, vlmoe_dtype dtype, int rank, const int64_t *dim);
/* The caller's forward pass reads t no more. Its data is given back as soon as no backward needs it: now, or when the last node that
 * reads it has been passed; now as well where its maker can remake it then. Parameters, views, kept memory and NULL are left alone. */
void vlm_tape_release(vlmoe_tape *tape, vlmoe_tensor *t);
/* For a backward that reads t's data for the last time: the block itself, to be overwritten, e.g. by t's gradient. NULL where someone
 * may still read it. */
void *vlm_tape_reuse(vlmoe_tape *tape, vlmoe_tensor *t);
/* Rows begin .. begin+count-1 of x as a tensor [count, cols] that shares data and gradient with x; nothing is recorded. */
vlmoe_tensor *vlm_rows_view(vlmoe_tape *tape, vlmoe_tensor *x, int64_t begin, int64_t count);

/* x as [rows, elements / rows], likewise a view. x must not be a view of some rows itself. */
vlmoe_tensor *vlm_reshape_view(vlmoe_tape *tape, vlmoe_tensor *x, int64_t rows);
/* Keep nothing for backward from here on, in TRAIN mode too: draws act, backward is not possible. Before anything is recorded. */
void vlm_tape_forward_only(vlmoe_tape *tape);

/* Gradients, for backward functions. All return NULL when t wants none (then skip), and set *accumulate to what kernels take.
 * Activations: gradient memory of t's dtype. Views: rows of the base's gradient (zeroed first if nothing was there).
 * Parameters: wide; the accumulator itself when this is the tape's only use of it, else the tape's share. */
void *vlm_grad_in(vlmoe_tape *tape, vlmoe_tensor *t, int *accumulate);
/* The same where n_parts groups are to be kept apart: *next = bytes from one group's memory to the next; 0 = they share it, in their order. */
void *vlm_grad_in_parts(vlmoe_tape *tape, vlmoe_tensor *t, int64_t n_parts, int *accumulate, size_t *next);
const void *vlm_grad_of(const vlmoe_tensor *t); /* gradient of a node's output; NULL = nothing reached it: backward is called then for nodes with peers only */
/* Add a block of t's shape, of this float type, to t's gradient; the block stays the caller's. Nothing happens when t wants none. */
vlmoe_status vlm_grad_add(vlmoe_tape *tape, vlmoe_tensor *t, const void *block, vlmoe_dtype dtype);
/* Let t take over this whole gradient block (same dtype and size, written by the caller and not used again) instead of copying;
 * adds when t already has one, or is a view or a parameter, and gives the block back. */
vlmoe_status vlm_grad_give(vlmoe_tape *tape, vlmoe_tensor *t, void *block);

/* Run fn(tape, arg, x) keeping only x; backward runs it again. Output has x's dtype and shape. arg must live as long as the tape.
 * With enabled = false (or in PREDICT mode) fn is simply called. Segments do not nest. */
typedef vlmoe_tensor *(*vlm_segment_fn)(vlmoe_tape *tape, const void *arg, vlmoe_tensor *x);
vlmoe_tensor *vlm_segment(vlmoe_tape *tape, bool enabled, vlm_segment_fn fn, const void *arg, vlmoe_tensor *x);

/* Place in the run. Default 0, 0. */
void vlm_tape_place(vlmoe_tape *tape, int64_t step, int64_t group);
/* Look at every output from now on; the first that is not finite is named "OP in PLACE" in text (true) or there is none (false).
 * Costs a pass over each output: for a recording that is made again to find out. */
void vlm_tape_watch(vlmoe_tape *tape);
bool vlm_tape_first_bad(const vlmoe_tape *tape, char *text, size_t bytes);
/* Name of the present place ("blocks.3.ffn_v"); kept by pointer in nodes and used in error texts. */
void vlm_tape_where(vlmoe_tape *tape, const char *where);

#endif
