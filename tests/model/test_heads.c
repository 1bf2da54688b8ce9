/* Heads and objectives of tasks against PyTorch in float64: scripts/golden/make_tasks.py wrote tests/golden/tasks.txt, from parameters
 * and samples by the formulas that stand here too. And what tasks do with labels, negatives, two passes, devices. */
#include "test_heads.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 4096 };
/* Sums of some thousand f64 products in two orders. */
static const double BOUND = 1e-10;

static uint32_t seed_of(const char *name)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 16777619u;
    return h;
}

/* centre + 0.3 sin(seed mod 1000 + 1.7 i), 1 the centre of gains of norms. */
void fill_params(vlmoe_context *ctx)
{
    for (int64_t k = 0; k < ctx->n_params; k++) {
        vlm_param *param = ctx->params[k];
        int64_t n = vlm_count(&param->tensor);
        double *value = malloc((size_t)n * sizeof *value), seed = seed_of(param->name) % 1000;
        const char *last = strrchr(param->name, '.');
        bool is_gain = param->role == VLM_ROLE_NORM && last && !strcmp(last, ".weight");
        CHECK(value != NULL);
        for (int64_t i = 0; i < n; i++)
            value[i] = (is_gain ? 1.0 : 0.0) + 0.3 * sin(seed + 1.7 * (double)i);
        CHECK_STATUS(vlmoe_tensor_write(&param->tensor, value, (size_t)n * sizeof *value),
                     VLMOE_OK);
        free(value);
    }
}

rig rig_make(vlmoe_context *ctx, vlm_head_kind kind, const char *more)
{
    char text[400];
    snprintf(text, sizeof text,
             "run.task=%s;model.layer_scale=0;task.embed_width=%d;data.images_per_group=4;"
             "data.texts_per_group=4;data.pairs_per_group=4%s%s",
             vlm_head_names[kind], kind == VLM_HEAD_RETRIEVAL ? EMBED : 0, *more ? ";" : "", more);
    rig r = {.config = test_tiny_config(text), .ctx = ctx};
    const vlm_head_spec spec =
        vlm_head_spec_of(r.config, kind, kind == VLM_HEAD_NLVR2 ? 2 : CLASSES);
    CHECK_STATUS_E(vlm_mome_create(ctx, r.config, TINY_WORDS, 0, &r.model), VLMOE_OK, &ctx->error);
    CHECK_STATUS_E(vlm_head_create(ctx, &spec, &r.head), VLMOE_OK, &ctx->error);
    CHECK_STATUS_E(vlm_ctx_init_params(ctx), VLMOE_OK, &ctx->error);
    r.parts = (vlm_task_parts){r.model, r.head, r.config};
    return r;
}

void rig_begin(rig *r, vlmoe_mode mode, int64_t step, int64_t group)
{
    CHECK_STATUS_E(vlmoe_tape_begin(r->ctx, mode, &r->tape), VLMOE_OK, &r->ctx->error);
    vlm_tape_place(r->tape, step, group);
}

void rig_free(rig *r)
{
    vlm_head_destroy(r->head);
    vlm_mome_destroy(r->model);
    vlmoe_context_destroy(r->ctx);
    vlmoe_config_destroy(r->config);
}

/* ---- samples by formula ---- */

void fill_samples(samples *s, int64_t n_images, int64_t n_pairs, int64_t n_texts, int shift)
{
    int64_t pictures = n_images + n_pairs, texts = n_pairs + n_texts;
    memset(s, 0, sizeof *s);
    for (int64_t j = 0; j < texts; j++)
        s->text_offset[j + 1] = s->text_offset[j] + 3 + (int32_t)((j + shift) % 4);
    for (int64_t k = 0; k < pictures * 192; k++) {
        int64_t i = k + 1000 * shift;
        s->pixels[k] = (uint8_t)(i * 37 + i / 64 * 11);
    }
    for (int32_t t = 0; t < s->text_offset[texts]; t++)
        s->token[t] = (7 * t + 3 * shift + t * t) % TINY_WORDS;
    s->group = (vlm_group){.n_images = n_images,
                           .n_pairs = n_pairs,
                           .n_texts = n_texts,
                           .image_size = 8,
                           .n_patches = TINY_PATCHES,
                           .pixels = s->pixels,
                           .token = s->token,
                           .n_tokens = s->text_offset[texts],
                           .text_offset = s->text_offset};
}

/* Sample i has i mod 3 further labels; the last one has none. */
static void fill_labels(samples *s, int n, int classes)
{
    int at = 0;
    for (int i = 0; i < n; i++) {
        for (int k = 0; i < n - 1 && k < 1 + i % 3; k++) {
            s->label[at] = (3 * i + k) % classes;
            s->score[at++] = (float)(1.0 / (1 + k));
        }
        s->label_offset[i + 1] = at;
    }
    s->group.label_offset = s->label_offset;
    s->group.label = s->label;
    s->group.label_score = s->score;
}

void set_concepts(samples *s, const int64_t *concept)
{
    memcpy(s->concept, concept, (size_t)s->group.n_texts * sizeof *concept);
    s->group.concept = s->concept;
}

/* ---- the golden file ---- */

FILE *golden_open(const char *name)
{
    char line[LINE], want[64];
    FILE *file = fopen(TEST_GOLDEN "/tasks.txt", "r");
    CHECK(file != NULL);
    snprintf(want, sizeof want, "case %s\n", name);
    while (fgets(line, sizeof line, file))
        if (!strcmp(line, want)) return file;
    test_fail(__FILE__, __LINE__, "tasks.txt has no case %s", name);
    return NULL;
}

/* The next line of the case begins with `start`; returns what follows. */
static const char *golden_line(FILE *file, char line[LINE], const char *start)
{
    CHECK(fgets(line, LINE, file) != NULL);
    if (strncmp(line, start, strlen(start)) != 0)
        test_fail(__FILE__, __LINE__, "tasks.txt: \"%.40s\", expected %s", line, start);
    return line + strlen(start);
}

void check_loss(FILE *file, double got)
{
    char line[LINE];
    double want = strtod(golden_line(file, line, "loss "), NULL);
    CHECK_CLOSE(got, want, BOUND * fabs(want));
}

void check_values(FILE *file, const char *name, const double *got, int64_t n)
{
    char line[LINE], start[64];
    snprintf(start, sizeof start, "value %s ", name);
    char *at = (char *)golden_line(file, line, start);
    for (int64_t i = 0; i < n; i++) CHECK_CLOSE(got[i], strtod(at, &at), BOUND);
}

/* Sum and sum of g_i sin(i) of every gradient, by name. */
void check_grads(FILE *file, vlmoe_context *ctx)
{
    char line[LINE], name[128];
    int n_checked = 0;
    double want[2];
    while (fgets(line, sizeof line, file) &&
           sscanf(line, "grad %127s %lf %lf", name, &want[0], &want[1]) == 3) {
        const vlm_param *param = NULL;
        for (int64_t k = 0; k < ctx->n_params; k++)
            if (!strcmp(ctx->params[k]->name, name)) param = ctx->params[k];
        if (!param) test_fail(__FILE__, __LINE__, "no parameter %s", name);
        int64_t n = vlm_count(&param->tensor);
        double *g = malloc((size_t)n * sizeof *g), got[2] = {0.0, 0.0}, size = 1.0;
        CHECK_STATUS(vlmoe_tensor_read_grad(&param->tensor, g, (size_t)n * sizeof *g), VLMOE_OK);
        for (int64_t i = 0; i < n; i++) {
            got[0] += g[i];
            got[1] += g[i] * sin((double)i);
            size += fabs(g[i]);
        }
        for (int k = 0; k < 2; k++)
            if (!(fabs(got[k] - want[k]) <= BOUND * size))
                test_fail(__FILE__, __LINE__, "gradient of %s: sum %d is %.15g, expected %.15g",
                          name, k, got[k], want[k]);
        free(g);
        n_checked++;
    }
    CHECK_INT(n_checked, ctx->n_params);
}

static void check_task(vlm_head_kind kind, int64_t n_images, int64_t n_pairs, int64_t n_texts)
{
    static samples s;
    char more[200];
    double loss, row_loss[4], sum = 0.0;
    vlm_task task;
    vlm_task_metrics metrics;
    snprintf(more, sizeof more, "%s;task.label_smoothing=%g", NO_DRAWS,
             kind == VLM_HEAD_VQA ? 0.0 : 0.1);
    rig r = rig_make(test_ref_context(), kind, more);
    fill_params(r.ctx);
    fill_samples(&s, n_images, n_pairs, n_texts, 0);
    fill_labels(&s, 4, (int)vlm_head_classes(r.head));
    CHECK_STATUS(vlmoe_grad_zero(r.ctx), VLMOE_OK);
    rig_begin(&r, VLMOE_TRAIN, 0, 0);
    vlm_task_record(r.tape, &r.parts, &s.group, &task);
    CHECK_STATUS_E(vlmoe_tape_loss(r.tape, &loss), VLMOE_OK, &r.ctx->error);
    FILE *file = golden_open(vlm_head_names[kind]);
    check_loss(file, loss);
    check_values(file, "logits", task.logits->data, vlm_count(task.logits));
    CHECK_STATUS(vlm_download_wide(r.ctx, task.result.d_row_loss, 4, row_loss), VLMOE_OK);
    check_values(file, "row_loss", row_loss, 4);
    CHECK_STATUS(vlm_task_metrics_read(r.tape, &task, &s.group, &metrics), VLMOE_OK);
    for (int i = 0; i < 3; i++) sum += row_loss[i] / 3.0;
    CHECK_INT(metrics.n, 3);
    CHECK_CLOSE(metrics.loss, sum, 1e-14);
    vlm_task_release(r.tape, &task);
    CHECK_STATUS_E(vlmoe_tape_backward(r.tape, 1.0), VLMOE_OK, &r.ctx->error);
    check_grads(file, r.ctx);
    fclose(file);
    vlmoe_tape_end(r.tape);
    rig_free(&r);
}

TEST(vqa_agrees_with_pytorch)
{
    check_task(VLM_HEAD_VQA, 0, 4, 0);
}

TEST(nlvr2_agrees_with_pytorch)
{
    check_task(VLM_HEAD_NLVR2, 0, 8, 0);
}

TEST(classify_agrees_with_pytorch)
{
    check_task(VLM_HEAD_CLASSIFY, 4, 0, 0);
}

TEST(nli_agrees_with_pytorch)
{
    check_task(VLM_HEAD_NLI, 0, 0, 4);
}

/* ---- devices, labels, first values ---- */

/* A planned recording has no data: it takes the path of a real one. */
TEST(tasks_record_without_data)
{
    for (int kind = 0; kind < VLM_N_HEADS; kind++) {
        static samples s;
        vlm_task task;
        vlm_retrieval retrieval;
        bool is_retrieval = kind == VLM_HEAD_RETRIEVAL,
             has_pairs = kind == VLM_HEAD_VQA || kind == VLM_HEAD_NLVR2;
        rig r = rig_make(test_context("meta", VLMOE_BF16, 1), (vlm_head_kind)kind, "");
        fill_samples(&s, is_retrieval || kind == VLM_HEAD_CLASSIFY ? 4 : 0, has_pairs ? 4 : 0,
                     is_retrieval || kind == VLM_HEAD_NLI ? 4 : 0, 0);
        rig_begin(&r, VLMOE_TRAIN, 0, 0);
        if (is_retrieval) vlm_retrieval_record(r.tape, &r.parts, &s.group, NULL, &retrieval);
        else vlm_task_record(r.tape, &r.parts, &s.group, &task);
        CHECK_STATUS_E(vlmoe_tape_backward(r.tape, 1.0), VLMOE_OK, &r.ctx->error);
        vlmoe_tape_end(r.tape);
        if (is_retrieval) {
            vlm_contrastive_set set = {.n_groups = 3, .n = 4, .weight = 1.0};
            CHECK_STATUS_E(
                vlm_contrastive_solve(r.ctx, r.head, &set, &(vlm_contrastive_solution){0}),
                VLMOE_OK, &r.ctx->error);
        }
        rig_free(&r);
    }
}

TEST(labels_that_are_missing_or_no_class)
{
    static samples s;
    vlm_task task;
    vlm_task_metrics metrics;
    double loss, logits[4 * CLASSES];
    rig r = rig_make(test_ref_context(), VLM_HEAD_VQA, "");
    fill_samples(&s, 0, 4, 0, 0);
    rig_begin(&r, VLMOE_PREDICT, 0, 0);
    vlm_task_record(r.tape, &r.parts, &s.group, &task);
    CHECK_STATUS_E(vlm_task_metrics_read(r.tape, &task, &s.group, &metrics), VLMOE_OK,
                   &r.ctx->error);
    CHECK_STATUS(vlm_task_logits_read(r.tape, &task, logits), VLMOE_OK);
    CHECK(metrics.n == 0 && metrics.loss == 0.0 &&
          memcmp(logits, task.logits->data, sizeof logits) == 0);
    vlmoe_tape_end(r.tape);
    fill_labels(&s, 4, CLASSES);
    s.label[1] = CLASSES;
    rig_begin(&r, VLMOE_TRAIN, 0, 0);
    vlm_task_record(r.tape, &r.parts, &s.group, &task);
    CHECK_STATUS(vlmoe_tape_loss(r.tape, &loss), VLMOE_E_ARG);
    CHECK_HAS(r.ctx->error.text, "class 5, expected 0 to 4");
    vlmoe_tape_end(r.tape);
    rig_free(&r);
}

/* The normal is cut at one deviation: nothing is larger than 0.001 init_std. */
TEST(heads_start_as_published)
{
    double value[CLASSES * 16];
    vlmoe_tensor *weight = NULL;
    rig r = rig_make(test_ref_context(), VLM_HEAD_CLASSIFY, "");
    int64_t first, end;
    vlm_head_params(r.head, &first, &end);
    CHECK_INT(end - first, 4);
    CHECK_STATUS(vlm_ctx_build(r.ctx), VLMOE_OK);
    for (int64_t k = first; k < end; k++)
        if (!strcmp(r.ctx->params[k]->name, "head.classify.fc2.weight"))
            weight = &r.ctx->params[k]->tensor;
    CHECK(weight != NULL);
    CHECK_STATUS(vlmoe_tensor_read(weight, value, sizeof value), VLMOE_OK);
    double largest = 0.0;
    for (int i = 0; i < CLASSES * 16; i++) largest = fmax(largest, fabs(value[i]));
    CHECK(largest > 0.0 && largest <= 0.4 * 0.001);
    rig_free(&r);
}
