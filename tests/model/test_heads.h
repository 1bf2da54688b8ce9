/* What the tests of heads and objectives of tasks share: a model with a head, samples by formula, stored values of PyTorch. */
#ifndef TEST_HEADS_H
#define TEST_HEADS_H

#include <stdio.h>
#include "context.h"
#include "harness.h"
#include "objective_retrieval.h"
#include "objective_task.h"
#include "test_model.h"

enum { CLASSES = 5, EMBED = 6 };
/* Settings without noise and drop path, with all parameters trained. */
#define NO_DRAWS "model.drop_path=0;moe.noise_std=0;moe.v_load=0;moe.t_load=0;task.freeze_moe=false"

/* A model with a head, parameters by formula or initialised, and a recording. */
typedef struct rig {
    vlmoe_config *config;
    vlmoe_context *ctx;
    vlm_mome *model;
    vlm_head *head;
    vlm_task_parts parts;
    vlmoe_tape *tape;
} rig;
rig rig_make(vlmoe_context *ctx, vlm_head_kind kind, const char *more); /* more: further settings */
void rig_begin(rig *r, vlmoe_mode mode, int64_t step, int64_t group);
void rig_free(rig *r);
void fill_params(vlmoe_context *ctx); /* by the formula of make_tasks.py */

typedef struct samples {
    vlm_group group;
    uint8_t pixels[12 * 192];
    int32_t token[12 * 6], text_offset[13], label_offset[9], label[24];
    int64_t concept[8];
    float score[24];
} samples;
void fill_samples(samples *s, int64_t n_images, int64_t n_pairs, int64_t n_texts, int shift);
void set_concepts(samples *s, const int64_t *concept);

/* A case of tasks.txt; its lines in order: loss, values, gradients. */
FILE *golden_open(const char *name);
void check_loss(FILE *file, double got);
void check_values(FILE *file, const char *name, const double *got, int64_t n);
void check_grads(FILE *file, vlmoe_context *ctx);

#endif
