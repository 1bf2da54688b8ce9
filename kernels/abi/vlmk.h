/* The only seam between src/ and kernels/: one argument struct per kernel, those that route in vlmk_route.h. Types and shapes here, numbers in
 * ref/, cpu/, cuda/.
 *
 * Dtypes.  "ct" is the compute type of a call, stated in `dtype`: VLMOE_F32 or VLMOE_BF16 (VLMOE_F64 on the ref device).
 *          "wide" is f32, and f64 on the ref device: statistics, biases, gains, router, losses, all gradients of parameters.
 * Shapes.  Row-major, dense, last axis contiguous. Pointers are 64-byte aligned at tensor starts, not at rows.
 * Sums.    In wide or wider, in an order that is a function of the shapes alone: never of the number of workers.
 * accumulate: 0 = write, 1 = add to what is there. A product is formed whole, then added once.
 * Zero sizes are legal everywhere: such a call does nothing (an accumulate = 0 output of non-zero size becomes zeros). */
#ifndef VLMK_H
#define VLMK_H

#include <stddef.h>
#include <stdint.h>
#include "vlmk_route.h"
#include "vlmoe/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vlmk_env vlmk_env;
/* What a kernel may use besides its arguments. Nothing here is kept after the call. */
struct vlmk_env {
    void *queue; /* cudaStream_t on CUDA; NULL on the CPU */
    void *pool;  /* of parallel() */
    int n_workers;
    /* Run fn for tiles 0 .. n_tiles-1 on any worker in [0, n_workers); returns when all are done. Never nested. */
    void (*parallel)(void *pool, void (*fn)(void *arg, int64_t tile, int worker), void *arg, int64_t n_tiles);
    /* Memory until the kernel returns, 64-byte aligned, not cleared; NULL = none left (return VLMOE_E_NOMEM). Main thread only. */
    void *(*scratch)(vlmk_env *env, size_t bytes);
    void *device;  /* owner, for scratch() and for the device's product library */
    double *flops; /* NULL = not counted; products and attention add 2 per multiply-add */
    int is_dry;    /* products only: take scratch and list what would be made, read no data but offset, run no tiles */
};

enum { VLMK_ACT_NONE = 0, VLMK_ACT_GELU = 1, VLMK_ACT_TANH = 2 };

/* dst[i] = src[i], rounded to nearest even where dst is narrower. F32, BF16, F64 in any pair. */
typedef struct vlmk_convert_args {
    int64_t n;
    int src_dtype, dst_dtype;
    const void *src; /* [n] */
    void *dst;       /* [n] */
} vlmk_convert_args;

/* dst[i] (+)= factor * src[i], both wide. */
typedef struct vlmk_axpy_args {
    int64_t n;
    double factor;
    const void *src; /* [n] wide */
    void *dst;       /* [n] wide */
    int accumulate;
} vlmk_axpy_args;

/* Products. G groups of rows, each with its own weight: G = 1 is a linear layer, G = E the experts of a layer.
 * Rows of group g are offset[g] .. offset[g+1]-1; offset NULL (G = 1 only) means all M rows. Rows past offset[G] are not touched.
 *   fwd: y = act(x w^T + b)      dx: dx (+)= dy w       dw: dw (+)= dy^T x,  db (+)= sum of rows of dy
 * A row of y or dx depends on that row, w and b alone: not on M, its place, or the number of workers. */
typedef struct vlmk_linear_fwd_args {
    int dtype;             /* ct of x, w and pre */
    int y_dtype;           /* of y: dtype or wide */
    int act;               /* VLMK_ACT_* */
    int64_t M, N, K, G;    /* rows, outputs, inputs, groups */
    const int32_t *offset; /* [G + 1], ascending, in [0, M]; NULL when G == 1 */
    const void *x;         /* [M, K] */
    const void *w;         /* [G, N, K] */
    const void *bias;      /* [G, N] wide; NULL = zero */
    void *pre;             /* [M, N] dtype: value before act, for backward; NULL = not kept; unused when act is NONE */
    void *y;               /* [M, N] */
} vlmk_linear_fwd_args;

typedef struct vlmk_linear_dx_args {
    int dtype;    /* ct of dy and w */
    int dx_dtype; /* of dx: dtype or wide */
    int64_t M, N, K, G;
    const int32_t *offset;
    const void *dy; /* [M, N] */
    const void *w;  /* [G, N, K] */
    void *dx;       /* [M, K] */
    int accumulate;
} vlmk_linear_dx_args;

/* Rows that met the weights together: of group g offset[g stride] .. offset[g stride + 1]-1, so that one matrix, its rows ordered by
 * (group, part), serves as several parts: part p with offset + p and the number of parts as stride. */
typedef struct vlmk_dw_part {
    int64_t M;
    int64_t stride;        /* 0 = 1 */
    const int32_t *offset; /* [(G - 1) stride + 2] */
    const void *x;         /* [M, K] */
    const void *dy;        /* [M, N] */
} vlmk_dw_part;

/* dw and db are sums over parts, in order: each part's product is formed whole, then added once. So one call with several parts
 * gives what as many calls with accumulate = 1 give, bit for bit, and meets dw in memory once. */
typedef struct vlmk_linear_dw_args {
    int dtype; /* ct of x and dy */
    int64_t N, K, G;
    int64_t n_parts;
    const vlmk_dw_part *part; /* [n_parts], on the host */
    void *dw;       /* [G, N, K] wide; NULL = not wanted */
    void *db;       /* [G, N] wide; NULL = not wanted */
    int accumulate; /* of dw and db; with 1 a group without rows is left alone (adding +0 changes nothing) */
} vlmk_linear_dw_args;

/* y = act(pre): what a product's activation was, made again from the pre-activation that was kept. */
typedef struct vlmk_act_fwd_args {
    int dtype; /* of pre and y */
    int act;
    int64_t n;
    const void *pre; /* [n] */
    void *y;         /* [n] */
} vlmk_act_fwd_args;

/* dpre = dy * act'(pre). GELU is exact: x Phi(x) (Hendrycks and Gimpel 2016); tanh'(x) = 1 - tanh(x)^2. */
typedef struct vlmk_act_bwd_args {
    int dtype; /* of pre, dy and dpre */
    int act;
    int64_t n;
    const void *pre; /* [n] */
    const void *dy;  /* [n] */
    void *dpre;      /* [n]; may be dy */
} vlmk_act_bwd_args;

/* y[r,c] = (x[r,c] - mean[r]) * rstd[r] * gain[c] + bias[c], rstd = 1/sqrt(var + eps), population variance (Ba et al. 2016). */
typedef struct vlmk_layer_norm_fwd_args {
    int x_dtype, y_dtype;
    int64_t rows, cols;
    const void *x;    /* [rows, cols] */
    const void *gain; /* [cols] wide */
    const void *bias; /* [cols] wide */
    void *y;          /* [rows, cols] */
    void *mean;       /* [rows] wide */
    void *rstd;       /* [rows] wide */
    double eps;
} vlmk_layer_norm_fwd_args;

typedef struct vlmk_layer_norm_bwd_args {
    int x_dtype, dy_dtype;
    int64_t rows, cols;
    const void *x;    /* [rows, cols] */
    const void *gain; /* [cols] wide */
    const void *mean; /* [rows] wide */
    const void *rstd; /* [rows] wide */
    const void *dy;   /* [rows, cols] dy_dtype */
    void *dx;         /* [rows, cols] x_dtype; NULL = not wanted */
    void *dgain;      /* [cols] wide; NULL = not wanted (then dbias too) */
    void *dbias;      /* [cols] wide */
    int accumulate_dx, accumulate_params;
} vlmk_layer_norm_bwd_args;

/* Attention over packed sequences, softmax(scale q k^T) v per head, no [Lq, Lk] scores in memory: keys are walked
 * online (Milakov and Gimelshein 2018) or for a block of queries at a time (Dao et al. 2022), as the device likes. Sequence s has queries q_row[q_offset[s] ..) and keys kv_row[kv_offset[s] ..): row
 * numbers in q/out and k/v, so a sequence need not be contiguous. Each row belongs to at most one sequence; rows of no sequence are
 * not touched. With causal = 1 query i of its sequence sees keys j <= i + causal_offset; a query that sees none gets zeros.
 * Query head h uses key head h / (H / H_kv). With BF16 the softmax is in f32; probabilities and slopes of scores may be rounded to
 * bf16 where they are operands of products, sums are f32. */
typedef struct vlmk_attention_args {
    int dtype;                 /* ct of q, k, v, out and their gradients */
    int64_t H, H_kv, head_dim; /* H a multiple of H_kv */
    int64_t q_stride, kv_stride, out_stride; /* elements between rows */
    int64_t n_seq;
    const int32_t *q_offset;   /* [n_seq + 1] */
    const int32_t *q_row;      /* [q_offset[n_seq]] */
    const int32_t *kv_offset;  /* [n_seq + 1] */
    const int32_t *kv_row;     /* [kv_offset[n_seq]] */
    int64_t max_q, max_kv;     /* longest of each: bounds for scratch and launch, known on the host */
    double scale;
    int causal;
    int64_t causal_offset;
    const void *q;             /* row r, head h at q + r * q_stride + h * head_dim; likewise k, v with kv_stride */
    const void *k;
    const void *v;
    void *out;                 /* forward writes, backward reads; row r at out + r * out_stride */
    void *lse;                 /* [rows of q, H] wide: log of the sum of exponentials; -inf where nothing is seen */
    const void *dout;          /* backward only, as out */
    void *dq;                  /* backward only, written (not added), strides as q, k, v */
    void *dk;
    void *dv;
} vlmk_attention_args;
typedef vlmk_attention_args vlmk_attention_fwd_args;
typedef vlmk_attention_args vlmk_attention_bwd_args;

/* out[i,:] (+)= in[index[i],:]; index -1 gives zeros. */
typedef struct vlmk_gather_rows_args {
    int in_dtype, out_dtype;
    int64_t n_out, n_in, cols;
    const void *in;       /* [n_in, cols] */
    const int32_t *index; /* [n_out], each in [-1, n_in) */
    void *out;            /* [n_out, cols] */
    int accumulate;
} vlmk_gather_rows_args;

/* The adjoint of gather: out[j,:] (+)= sum over i with index[i] = j, i ascending, of in[i,:]. The sum is formed whole in wide,
 * then stored or added once. With accumulate = 0 rows that nothing hits become zeros. */
typedef struct vlmk_scatter_rows_args {
    int in_dtype, out_dtype;
    int64_t n_in, n_out, cols;
    const void *in;       /* [n_in, cols] */
    const int32_t *index; /* [n_in], each in [-1, n_out); -1 is skipped */
    void *out;            /* [n_out, cols] */
    int accumulate;
} vlmk_scatter_rows_args;

/* Residual branch with drop path and layer scale: out[r,c] = base[r,c] + row_scale[r] * col_scale[c] * y[r,c]. */
typedef struct vlmk_residual_fwd_args {
    int y_dtype; /* base and out are wide */
    int64_t rows, cols;
    const void *base;      /* [rows, cols] wide */
    const void *y;         /* [rows, cols] */
    const void *row_scale; /* [rows] wide; NULL = 1 */
    const void *col_scale; /* [cols] wide; NULL = 1 */
    void *out;             /* [rows, cols] wide; may be base */
} vlmk_residual_fwd_args;

/* dy = row_scale * col_scale * dout; dcol_scale[c] (+)= sum over r of row_scale[r] * y[r,c] * dout[r,c]. (dbase is dout itself.) */
typedef struct vlmk_residual_bwd_args {
    int y_dtype;
    int64_t rows, cols;
    const void *dout;      /* [rows, cols] wide */
    const void *y;         /* [rows, cols]; needed for dcol_scale only */
    const void *row_scale; /* [rows] wide; NULL = 1 */
    const void *col_scale; /* [cols] wide; NULL = 1 */
    void *dy;              /* [rows, cols] y_dtype, written */
    void *dcol_scale;      /* [cols] wide; NULL = not wanted */
    int accumulate_col_scale;
} vlmk_residual_bwd_args;

/* y[i] = x[i] * (u_i >= p) / (1 - p), u_i = math_unit of Philox(key, i). Its own adjoint: backward calls it on dy. */
typedef struct vlmk_dropout_args {
    int dtype;
    int64_t n;
    double p;     /* [0, 1) */
    uint64_t key; /* vlm_rng_key */
    const void *x;
    void *y; /* may be x */
} vlmk_dropout_args;

/* Per row: nll = lse(logits) - logits[target]; correct = argmax (lowest index among equals) is the target. target -1: row skipped,
 * nll 0, correct 0. loss = sum over rows, ascending, of row_weight * nll. */
typedef struct vlmk_cross_entropy_fwd_args {
    int64_t M, V;
    const void *logits;     /* [M, V] wide */
    const int32_t *target;  /* [M] in [-1, V) */
    const void *row_weight; /* [M] wide */
    void *nll;              /* [M] wide */
    void *lse;              /* [M] wide */
    int32_t *correct;       /* [M] 0 or 1 */
    void *loss;             /* [1] wide */
} vlmk_cross_entropy_fwd_args;

/* dlogits[r,c] = dloss[0] * row_weight[r] * (softmax(logits[r])[c] - (c == target[r])); 0 for skipped rows. */
typedef struct vlmk_cross_entropy_bwd_args {
    int64_t M, V;
    int out_dtype;
    const void *logits;     /* [M, V] wide */
    const int32_t *target;  /* [M] */
    const void *row_weight; /* [M] wide */
    const void *lse;        /* [M] wide */
    const void *dloss;      /* [1] wide */
    void *dlogits;          /* [M, V] out_dtype; may be logits when out_dtype is wide */
} vlmk_cross_entropy_bwd_args;

/* Losses of rows against classes with scores. Row r has the entries offset[r] .. offset[r+1]-1, each a class and its score; t[c] is the
 * sum of a row's scores of class c, T their sum over all classes.
 *   SOFTMAX  row_loss = sum over c of t'[c] (lse(x) - x[c]), t' = (1 - smoothing) t + smoothing T / V (Szegedy et al. 2016)
 *   SIGMOID  row_loss = sum over c of log(1 + exp(x[c])) - t[c] x[c]: V independent questions (binary cross-entropy); no smoothing
 * best = the largest logit's class, the lowest among equals. loss = sum over rows, ascending, of row_weight * row_loss. */
enum { VLMK_CLASS_SOFTMAX = 0, VLMK_CLASS_SIGMOID = 1 };
typedef struct vlmk_class_loss_fwd_args {
    int kind; /* VLMK_CLASS_* */
    int64_t M, V;
    double smoothing;       /* [0, 1), SOFTMAX only */
    const void *x;          /* [M, V] wide: logits */
    const int32_t *offset;  /* [M + 1], ascending from 0 */
    const int32_t *label;   /* [offset[M]] each in [0, V); one may stand in a row more than once */
    const void *score;      /* [offset[M]] wide */
    const void *row_weight; /* [M] wide */
    void *row_loss;         /* [M] wide */
    void *lse;              /* [M] wide: log of the sum of exponentials, SOFTMAX; else 0 */
    int32_t *best;          /* [M] */
    void *loss;             /* [1] wide */
} vlmk_class_loss_fwd_args;
/* dx[r,c] = dloss[0] * row_weight[r] * (T softmax(x[r])[c] - t'[c]), or (sigmoid(x[r,c]) - t[c]). */
typedef struct vlmk_class_loss_bwd_args {
    int kind;
    int64_t M, V;
    double smoothing;
    const void *x;
    const int32_t *offset;
    const int32_t *label;
    const void *score;
    const void *row_weight;
    const void *lse;
    const void *dloss; /* [1] wide */
    void *dx;          /* [M, V] wide, written; may be x */
} vlmk_class_loss_bwd_args;

/* y = exp(s) x: cosines over a temperature exp(-s) that is learned as its logarithm. All wide. */
typedef struct vlmk_temper_fwd_args {
    int64_t n;
    const void *s; /* [1] */
    const void *x; /* [n] */
    void *y;       /* [n] */
} vlmk_temper_fwd_args;
/* dx = exp(s) dy; ds (+)= sum over i of dy[i] y[i], formed whole, then added once. */
typedef struct vlmk_temper_bwd_args {
    int64_t n;
    const void *s;
    const void *x;  /* [n]; needed for ds only */
    const void *dy; /* [n] */
    void *dx;       /* [n], written; may be dy; NULL = not wanted */
    void *ds;       /* [1]; NULL = not wanted */
    int accumulate_ds;
} vlmk_temper_bwd_args;

/* Regression: loss = sum over rows, ascending, of row_weight[r] * mean over c of (x[r,c] - target[r,c])^2. */
typedef struct vlmk_mse_fwd_args {
    int64_t M, C;
    const void *x;          /* [M, C] wide */
    const void *target;     /* [M, C] wide */
    const void *row_weight; /* [M] wide */
    void *row_loss;         /* [M] wide: the mean over c, unweighted */
    void *loss;             /* [1] wide */
} vlmk_mse_fwd_args;
typedef struct vlmk_mse_bwd_args {
    int64_t M, C;
    const void *x;
    const void *target;
    const void *row_weight;
    const void *dloss; /* [1] wide */
    void *dx;          /* [M, C] wide, written */
} vlmk_mse_bwd_args;

/* y = x / max(|x|_2, eps) per row, wide. bwd: dx = (dy - y (y . dy)) / |x|, 0 / eps rule where |x| < eps: dx = dy / eps. */
typedef struct vlmk_l2_norm_fwd_args {
    int64_t rows, cols;
    const void *x; /* [rows, cols] wide */
    void *y;       /* [rows, cols] wide */
    void *norm;    /* [rows] wide: max(|x|, eps) */
    double eps;
} vlmk_l2_norm_fwd_args;
typedef struct vlmk_l2_norm_bwd_args {
    int64_t rows, cols;
    const void *y;
    const void *norm;
    const void *dy;
    void *dx; /* [rows, cols] wide, written */
    double eps;
} vlmk_l2_norm_bwd_args;

/* Nearest code by largest dot product of unit vectors; ties to the lower index. */
typedef struct vlmk_vq_assign_args {
    int64_t M, n_codes, C;
    const void *z;    /* [M, C] wide, unit rows */
    const void *code; /* [n_codes, C] wide, unit rows */
    int32_t *index;   /* [M] */
} vlmk_vq_assign_args;

/* Pixels to patch vectors: out[(b,py,px), (c,y,x)] = (pixel / 255 - mean[c]) / deviation[c]. Order channel, row, column, as a
 * convolution's weight. */
typedef struct vlmk_patchify_args {
    int out_dtype;
    int64_t B, height, width, patch; /* height and width multiples of patch */
    const uint8_t *pixels;           /* [B, height, width, 3] */
    double mean[3], deviation[3];
    void *out; /* [B * (height/patch) * (width/patch), 3 * patch * patch] */
} vlmk_patchify_args;

/* AdamW (Loshchilov and Hutter 2019), as PyTorch computes it: p *= 1 - lr * decay; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
 * p -= lr / correction1 * m / (sqrt(v) / sqrt(correction2) + eps), with g = grad_scale * grad and correction_i = 1 - b_i^step.
 * Moments of BF16 are rounded stochastically when they are stored, after p has used them whole: with w = math_philox_word(key, first + i),
 * m by the low and v by the high half of w (math_bf16_stochastic). So a tensor may be updated in pieces: the bits are those of one call. */
typedef struct vlmk_adamw_args {
    int64_t n;
    int64_t first;    /* of the tensor that key belongs to: which element these begin with; a multiple of VLMK_NORM_BLOCK */
    void *param;      /* [n] wide */
    const void *grad; /* [n] wide */
    void *m;          /* [n] moment_dtype */
    void *v;          /* [n] moment_dtype */
    void *copy;       /* [n] copy_dtype: the compute copy, written; NULL = none */
    int copy_dtype;
    int moment_dtype; /* of m and v: wide or BF16 */
    uint64_t key;     /* BF16 only */
    double lr, beta1, beta2, eps, decay, correction1, correction2, grad_scale;
} vlmk_adamw_args;

/* partial[b] = sum of squares of block b, in f64, block = 4096 elements (the last may be shorter). */
enum { VLMK_NORM_BLOCK = 4096 };
typedef struct vlmk_square_sum_args {
    int64_t n;
    const void *x;   /* [n] wide */
    double *partial; /* [ceil(n / 4096)] */
} vlmk_square_sum_args;

/* One pointer per kernel: 0 on success, else a vlmoe_status number. Same list on every device. */
#define VLMK_KERNEL(name) int (*name)(vlmk_env *env, const vlmk_##name##_args *args);
typedef struct vlmk_table {
#include "kernels.def"
} vlmk_table;
#undef VLMK_KERNEL

#ifdef __cplusplus
}
#endif
#endif
