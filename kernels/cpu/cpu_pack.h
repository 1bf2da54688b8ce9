/* Bringing operands of products into the dense layouts oneDNN gets. One instruction set's
 * functions; see cpu_pack.c.
 *
 * Packed b of [k, n] (k, n the padded sizes): columns in blocks of `block` (64, or n when oneDNN
 * has no blocked kernel); block c begins at element c * block * k and is [k, block] for f32,
 * [k/2, block, 2] for bf16. Padding holds zeros. */
#ifndef VLMK_CPU_PACK_H
#define VLMK_CPU_PACK_H

#include "cpu_vec.h"

enum { PACK_K = 32, PACK_N = 64 }; /* padded sizes are multiples of these */

typedef struct vlmk_cpu_pack {
    int src_dtype, dst_dtype; /* equal, or BF16 to F32 */
    const void *src;          /* of the first element */
    int64_t ld;               /* elements between rows of src */
    int64_t n, k;             /* elements that exist */
    int64_t n_pad, k_pad;     /* elements written */
    int64_t block;
    void *dst;
} vlmk_cpu_pack;

#define vlmk_cpu_pack_from_rows    VLMK_CPU(pack_from_rows)
#define vlmk_cpu_pack_from_columns VLMK_CPU(pack_from_columns)
#define vlmk_cpu_pack_transpose    VLMK_CPU(pack_transpose)
#define vlmk_cpu_pack_copy         VLMK_CPU(pack_copy)

void vlmk_cpu_pack_from_rows(
    const vlmk_cpu_pack *p); /* src [n, k]: column j of b is row j of src */
void vlmk_cpu_pack_from_columns(const vlmk_cpu_pack *p); /* src [k, n] */
/* dst [n, k_pad] dense = src [k, n] transposed, rows past k as zeros. block and n_pad unused. */
void vlmk_cpu_pack_transpose(const vlmk_cpu_pack *p);
/* dst [n, k_pad] dense = src [n, k], columns past k as zeros. block and n_pad unused. */
void vlmk_cpu_pack_copy(const vlmk_cpu_pack *p);

#endif
