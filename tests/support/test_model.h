/* Small models and groups for tests: a config, a group of random samples, contexts. Failures
 * fail the test. */
#ifndef TEST_MODEL_H
#define TEST_MODEL_H

#include "data_group.h"
#include "model_mome.h"
#include "vlmoe/context.h"

/* A model with every feature: 3 blocks of width 16, vl_from 2, sparse V block 1 and T blocks 0
 * and 1, k = 2, noise, small capacities, drop path, layer scale, distinct experts. more: further
 * settings that win, "section.key=value;section.key=value"; NULL = none. */
vlmoe_config *test_tiny_config(const char *more);
enum { TINY_WORDS = 23, TINY_CODES = 7, TINY_PATCHES = 4 };

/* Random samples that fit the tiny config, some positions masked. codes: test_group.codes. */
typedef struct test_group {
    vlm_group group;
    int32_t *codes; /* [n_images + n_pairs, P] */
} test_group;
test_group test_group_make(const vlmoe_config *config, int64_t n_images, int64_t n_texts,
                           int64_t n_pairs);
void test_group_free(test_group *g);
vlm_mome_inputs test_group_inputs(const test_group *g);

vlmoe_context *test_context(const char *device, vlmoe_dtype compute, int n_threads);
vlmoe_context *test_ref_context(void);                                     /* f64 */
vlm_mome *test_tiny_model(vlmoe_context *ctx, const vlmoe_config *config); /* initialised */
void *
test_param_grads(vlmoe_context *ctx); /* a copy of the gradient slab [n_trained] wide; free() */

#endif
