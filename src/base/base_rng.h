/* Random numbers by counter: the value depends on (seed, stream, indices) alone, never on how many were drawn before or by whom.
 * Philox4x32-10 (Salmon et al. 2011); the scalar formula is kernels/math/math_philox.h. */
#ifndef VLM_BASE_RNG_H
#define VLM_BASE_RNG_H

#include "base.h"

/* Purposes. Part of a run's numbers: add at the end, never renumber. */
typedef enum vlm_stream {
    VLM_STREAM_INIT = 1,       /* parameter initialisation: a = parameter index          */
    VLM_STREAM_SHUFFLE = 2,    /* order of a data set: a = set, b = epoch                */
    VLM_STREAM_MIX = 3,        /* which set a draw comes from                            */
    VLM_STREAM_AUGMENT = 4,    /* crops, flips, jitter: a = step, b = group, c = sample  */
    VLM_STREAM_MASK_TEXT = 5,  /* token masking: a = step, b = group, c = sample         */
    VLM_STREAM_MASK_IMAGE = 6, /* block masking: a = step, b = group, c = sample         */
    VLM_STREAM_DROP_PATH = 7,  /* a = step, b = group, c = layer and branch              */
    VLM_STREAM_DROPOUT = 8,    /* a = step, b = group, c = site                          */
    VLM_STREAM_ROUTER = 9,     /* router noise: a = step, b = group, c = layer, modality */
    VLM_STREAM_EVAL = 10,      /* choices of evaluation: a = example                     */
    VLM_STREAM_CODEBOOK = 11,  /* k-means start, revival of dead codes: a = step         */
    VLM_STREAM_BOOTSTRAP = 12, /* resampling of evaluation results                       */
    VLM_STREAM_MOMENTS = 13,   /* rounding of bf16 moments: a = step, b = parameter index, c = expert */
    VLM_STREAM_RANDAUG = 14,   /* RandAugment: a = step, b = group, c = picture         */
    VLM_STREAM_MIXUP = 15,     /* mixup and cutmix: a = step, b = group                  */
    VLM_STREAM_NEGATIVE = 20,  /* hard negatives of matching: a = step, b = group, c = 2 sample + side */
    VLM_STREAM_TEST = 99
} vlm_stream;

/* A sequence of draws; copying it forks it. */
typedef struct vlm_rng {
    uint32_t key[2];
    uint32_t counter[4]; /* counter[0] runs, the others name the place */
    uint32_t left[4];
    int n_left;
} vlm_rng;

/* The draws of one place. Equal arguments give equal draws on every machine. */
vlm_rng vlm_rng_at(uint64_t seed, vlm_stream stream, uint64_t a, uint64_t b, uint64_t c);
uint32_t vlm_rng_u32(vlm_rng *rng);
uint64_t vlm_rng_below(vlm_rng *rng, uint64_t n); /* uniform in [0, n), n >= 1, without bias */
double vlm_rng_unit(vlm_rng *rng);                /* [0, 1), 53 bits */
double vlm_rng_normal(vlm_rng *rng);              /* mean 0, deviation 1 (Box-Muller, double) */
/* A fixed 64-bit key for a kernel that draws by itself (dropout, noise): element i uses philox(key, i). */
uint64_t vlm_rng_key(uint64_t seed, vlm_stream stream, uint64_t a, uint64_t b, uint64_t c);
/* Element index of such a key as a standard normal, as kernels draw it. */
double vlm_rng_key_normal(uint64_t key, uint64_t index);
/* Where index i of [0, n) goes in a pseudorandom permutation chosen by key: a bijection without a table. */
uint64_t vlm_rng_permute(uint64_t key, uint64_t n, uint64_t i);

#endif
