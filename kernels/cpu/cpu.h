/* The CPU kernels as a device sees them: which tables this machine can run, and the state a
 * device owns for them (scratch memory and oneDNN's primitives). A table's kernels find that
 * state in env->device. */
#ifndef VLMK_CPU_H
#define VLMK_CPU_H

#include "vlmk.h"

#ifdef __cplusplus
extern "C" {
#endif

/* "base", "avx2", "avx512", "avx512_bf16": the kernels compiled for that instruction set; NULL
 * when this machine or this build lacks it. Numbers may differ in the last bits between sets,
 * never between runs on one. */
const vlmk_table *vlmk_cpu_named(const char *isa);
/* The best set for this machine, its name in *isa_name (NULL allowed). Never NULL; reads no
 * environment variable. */
const vlmk_table *vlmk_cpu_select(const char **isa_name);

/* Scratch blocks, product primitives and per-worker streams. One state serves one env at a time;
 * n_workers as in the env. */
typedef struct vlmk_cpu_state vlmk_cpu_state;
/* NULL: out of memory, or oneDNN refused an engine. */
vlmk_cpu_state *vlmk_cpu_state_create(int n_workers);
void vlmk_cpu_state_destroy(vlmk_cpu_state *state); /* NULL allowed */

/* Fill env for kernels over this state. parallel NULL = tiles run one after the other on the
 * caller (n_workers must be 1). */
void vlmk_cpu_env_init(vlmk_env *env, vlmk_cpu_state *state, void *pool, int n_workers,
                       void (*parallel)(void *pool, void (*fn)(void *arg, int64_t tile, int worker),
                                        void *arg, int64_t n_tiles));
/* env->scratch: grows on demand, 64-byte aligned, valid until vlmk_cpu_call_done. NULL = out of
 * memory. */
void *vlmk_cpu_scratch(vlmk_env *env, size_t bytes);
/* Call after every kernel call: all scratch is free again but stays allocated, so equal later
 * calls allocate nothing. */
void vlmk_cpu_call_done(vlmk_env *env);
size_t vlmk_cpu_scratch_bytes(const vlmk_cpu_state *state); /* held now, for memory reports */
size_t vlmk_cpu_scratch_peak(const vlmk_cpu_state *state);  /* the most that one call took */
/* Hold this much from now on, so that calls which need no more allocate nothing. No call may be under way; refused silently. */
void vlmk_cpu_scratch_reserve(vlmk_cpu_state *state, size_t bytes);
/* From now on nothing is computed over env and its state: linear_* take their scratch and list their products, as env->is_dry
 * says. Tells a dry run what a real one will hold. */
void vlmk_cpu_env_dry(vlmk_env *env);
/* oneDNN primitives made (or, dry, listed) so far; about this much memory each with their code and every worker's operands. */
enum { VLMK_CPU_PRODUCT_BYTES = 75 << 10 };
int64_t vlmk_cpu_products_made(const vlmk_cpu_state *state);

/* "2.6.3": enters checkpoints, since another version may give other bits. */
const char *vlmk_cpu_dnnl_version(void);
/* oneDNN's name of what computes [m, k] x [k, n] of dtype (f32 or bf16) into f32, e.g.
 * "brg:avx512_core_bf16"; NULL when it cannot. */
const char *vlmk_cpu_dnnl_impl(vlmk_cpu_state *state, int64_t m, int64_t n, int64_t k, int dtype);

#ifdef __cplusplus
}
#endif
#endif
