/* The beginning of fine-tuning: positions of another picture size, what is taken from a checkpoint and what is refused, what is frozen
 * and how fast the rest goes. */
#include "train_transfer.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "context.h"
#include "../data/golden_file.h"
#include "test_model.h"
#include "train_params.h"
#include "train_resample.h"
#include "train_task.h"

TEST(grids_are_resampled_as_torch_interpolate_does)
{
    golden_file file = golden_open(TEST_GOLDEN "/train_resample.bin");
    int n = 0;
    for (; file.at < file.bytes; n++) {
        const int64_t side = golden_int(&file), out_side = golden_int(&file),
                      width = golden_int(&file);
        const float *from = golden_take(&file, (size_t)(side * side * width) * sizeof *from);
        float *out = vlm_alloc((size_t)(out_side * out_side * width) * sizeof *out);
        vlmoe_error error = {0};
        CHECK_STATUS_E(vlm_grid_resample(side, out_side, width, from, out, &error), VLMOE_OK,
                       &error);
        for (int64_t i = 0; i < out_side * out_side * width; i++) {
            const double want = golden_double(&file);
            /* one rounding to f32; 16 products in f64 of weights below 2 */
            CHECK_CLOSE(out[i], want, 0x1p-24 * fabs(want) + 64 * 0x1p-53 * 4.0);
        }
        vlm_free(out);
    }
    CHECK(n > 5);
    vlm_free(file.data);
}

/* ---- checkpoints ---- */

/* A model of a config's task in a context of its own; every value is the parameter's number plus its place. */
typedef struct subject {
    vlmoe_config *config;
    vlmoe_context *ctx;
    vlm_mome *model;
} subject;

static subject make_subject(const char *more)
{
    subject s = {.config = test_tiny_config(more), .ctx = test_context("cpu", VLMOE_F32, 1)};
    CHECK_STATUS_E(vlm_mome_create(s.ctx, s.config, TINY_WORDS,
                                   vlm_config_is_tuned(s.config) ? 0 : TINY_CODES, &s.model),
                   VLMOE_OK, &s.ctx->error);
    vlm_task_set_params(s.config, s.ctx);
    CHECK_STATUS_E(vlm_ctx_build(s.ctx), VLMOE_OK, &s.ctx->error);
    CHECK_STATUS_E(vlm_ctx_init_params(s.ctx), VLMOE_OK, &s.ctx->error);
    return s;
}

static void free_subject(subject *s)
{
    vlm_mome_destroy(s->model);
    vlmoe_context_destroy(s->ctx);
    vlmoe_config_destroy(s->config);
}

/* The subject's values as a checkpoint. */
static vlm_checkpoint save(const subject *s)
{
    vlm_checkpoint c = {.config = test_tiny_config(NULL)};
    vlm_ckpt_writer *writer = NULL;
    vlmoe_error error = {0};
    const char *parent = test_tmp_dir();
    CHECK_STATUS_E(vlm_ckpt_begin(parent, "step-00000001", &writer, &error), VLMOE_OK, &error);
    char *path = vlm_path_join(vlm_ckpt_folder(writer), "model.safetensors");
    CHECK_STATUS_E(vlm_state_write(s->ctx, VLM_STATE_VALUES, path, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_ckpt_commit(writer, &error), VLMOE_OK, &error);
    vlm_free(path);
    c.path = vlm_path_join(parent, "step-00000001");
    CHECK_STATUS_E(vlm_ckpt_open(c.path, true, &c.files, &error), VLMOE_OK, &error);
    return c;
}

static float *values_of(const subject *s, const char *name)
{
    vlmoe_tensor *tensor = vlmoe_param_find(s->ctx, name);
    CHECK(tensor != NULL);
    return tensor->data;
}

TEST(an_encoder_is_taken_and_prediction_heads_are_left_out)
{
    subject old = make_subject("run.seed=3"), new = make_subject("run.task=vqa;run.seed=4");
    vlm_checkpoint c = save(&old);
    vlmoe_error error = {0};
    CHECK(vlmoe_param_find(new.ctx, "word_head.dense.weight") == NULL);
    CHECK_STATUS_E(vlm_transfer(&c, new.config, new.ctx, &error), VLMOE_OK, &error);
    for (int64_t i = 0; i < new.ctx->n_params; i++) {
        const vlm_param *param = new.ctx->params[i];
        const size_t bytes = (size_t)vlm_param_elements(param) * sizeof(float);
        CHECK(memcmp(param->tensor.data, values_of(&old, param->name), bytes) == 0);
    }
    vlm_checkpoint_close(&c);
    free_subject(&old);
    free_subject(&new);
}

TEST(positions_of_larger_pictures_keep_the_class_row_and_texts_are_cut)
{
    subject old = make_subject(NULL),
            new = make_subject("run.task=vqa;model.image_size=16;model.text_len=5");
    vlm_checkpoint c = save(&old);
    vlmoe_error error = {0};
    const int64_t width = old.config->model.width, patch = old.config->model.patch,
                  side = old.config->model.image_size / patch, out_side = 16 / patch;
    CHECK(side != out_side && old.config->model.text_len > 5);
    float want[64 * 16];
    const float *from = values_of(&old, "image_position");
    memcpy(want, from, (size_t)width * sizeof *want);
    CHECK_STATUS(vlm_grid_resample(side, out_side, width, from + width, want + width, &error),
                 VLMOE_OK);
    CHECK_STATUS_E(vlm_transfer(&c, new.config, new.ctx, &error), VLMOE_OK, &error);
    CHECK(!memcmp(values_of(&new, "image_position"), want,
                  (size_t)((1 + out_side * out_side) * width) * sizeof *want));
    CHECK(!memcmp(values_of(&new, "text_position"), values_of(&old, "text_position"),
                  (size_t)(5 * width) * sizeof *want));
    vlm_checkpoint_close(&c);
    free_subject(&old);
    free_subject(&new);
}

/* A run with these settings cannot start from the tiny checkpoint, and none of its values has changed. */
static void expect_refusal(const char *more, vlmoe_status status, const char *text,
                           const char *text_too)
{
    subject old = make_subject(NULL), new = make_subject(more);
    vlm_checkpoint c = save(&old);
    vlmoe_error error = {0};
    const size_t bytes = (size_t) new.ctx->n_elements * sizeof(float);
    void *before = vlm_alloc(bytes);
    memcpy(before, new.ctx->master, bytes);
    CHECK_STATUS_E(vlm_transfer(&c, new.config, new.ctx, &error), status, &error);
    CHECK_HAS(error.text, text);
    CHECK_HAS(error.text, text_too);
    CHECK(!memcmp(before, new.ctx->master, bytes));
    vlm_free(before);
    vlm_checkpoint_close(&c);
    free_subject(&old);
    free_subject(&new);
}

TEST(other_models_are_refused_by_tensor_and_both_shapes)
{
    expect_refusal("run.task=vqa;model.width=32", VLMOE_E_SHAPE,
                   "word_embedding.weight has shape [23, 16]", "needs [23, 32]");
    expect_refusal("run.task=vqa;model.text_len=400", VLMOE_E_SHAPE, "text_position",
                   "model.text_len may be shorter");
    expect_refusal("run.task=vqa;model.layers=4", VLMOE_E_FORMAT, "blocks.3.", "is missing");
    expect_refusal("run.task=vqa;model.layers=2;moe.t_layers=[0,1];model.vl_from=2", VLMOE_E_FORMAT,
                   "blocks.2.", "is not part of this run's model");
    expect_refusal("run.task=vqa;moe.v_experts=2", VLMOE_E_SHAPE, "router", "has shape");
    expect_refusal("run.task=vqa;model.heads=4", VLMOE_E_ARG, "model.heads", "other numbers");
    expect_refusal("run.task=vqa;moe.k=1", VLMOE_E_ARG, "moe.k", "other numbers");
}

/* ---- rates and what is frozen ---- */

static const vlm_param *param_of(const subject *s, const char *name)
{
    for (int64_t i = 0; i < s->ctx->n_params; i++)
        if (!strcmp(s->ctx->params[i]->name, name)) return s->ctx->params[i];
    CHECK(!"there is such a parameter");
    return NULL;
}

TEST(rates_fall_by_a_factor_from_block_to_block)
{
    subject s = make_subject("run.task=vqa;task.layer_decay=0.5");
    CHECK_CLOSE(param_of(&s, "word_embedding.weight")->lr_scale, 1.0 / 16, 0.0);
    CHECK_CLOSE(param_of(&s, "text_position")->lr_scale, 1.0 / 16, 0.0);
    CHECK_CLOSE(param_of(&s, "patch.weight")->lr_scale, 1.0 / 16, 0.0);
    CHECK_CLOSE(param_of(&s, "blocks.0.norm1.weight")->lr_scale, 1.0 / 8, 0.0);
    CHECK_CLOSE(param_of(&s, "blocks.2.ffn_vl.fc1.weight")->lr_scale, 1.0 / 2, 0.0);
    CHECK_CLOSE(param_of(&s, "norm.weight")->lr_scale, 1.0, 0.0);
    free_subject(&s);
}

TEST(routers_experts_and_what_a_task_never_meets_are_frozen)
{
    subject pairs = make_subject("run.task=vqa"),
            images = make_subject("run.task=classify;task.freeze_moe=false"),
            texts = make_subject("run.task=nli"), old = make_subject(""),
            apart = make_subject("run.task=retrieval;task.matching_weight=0"),
            together = make_subject("run.task=retrieval;task.contrastive_weight=0");
    for (int64_t i = 0; i < pairs.ctx->n_params; i++) {
        const vlm_param *param = pairs.ctx->params[i];
        if (param->n_experts || param->role == VLM_ROLE_ROUTER) CHECK(!param->trained);
    }
    CHECK(param_of(&pairs, "word_embedding.weight")->trained);
    CHECK(param_of(&pairs, "blocks.0.ffn_v.fc1.weight")->trained);
    CHECK(param_of(&pairs, "blocks.2.ffn_vl.fc1.weight")->trained);
    CHECK(!param_of(&pairs, "blocks.2.ffn_v.fc1.weight")->trained);
    CHECK(!param_of(&pairs, "image_mask")->trained);
    CHECK(!param_of(&images, "word_embedding.weight")->trained);
    CHECK(!param_of(&images, "blocks.2.ffn_t.fc1.weight")->trained);
    CHECK(!param_of(&images, "blocks.2.norm2_vl.weight")->trained);
    CHECK(param_of(&images, "blocks.2.ffn_v.fc1.weight")->trained);
    CHECK(param_of(&images, "blocks.1.ffn_v.experts.{e}.fc1.weight")->trained);
    CHECK(param_of(&apart, "blocks.2.ffn_v.fc1.weight")->trained);
    CHECK(param_of(&apart, "blocks.0.ffn_v.fc1.weight")->trained);
    CHECK(!param_of(&apart, "blocks.2.ffn_vl.fc1.weight")->trained);
    CHECK(!param_of(&together, "blocks.2.ffn_t.fc1.weight")->trained);
    CHECK(param_of(&together, "blocks.0.norm2_t.weight")->trained);
    CHECK(param_of(&together, "blocks.2.ffn_vl.fc1.weight")->trained);
    CHECK(param_of(&together, "patch.weight")->trained);
    CHECK(!param_of(&texts, "patch.weight")->trained);
    CHECK(!param_of(&texts, "blocks.0.norm2_v.weight")->trained);
    CHECK(param_of(&texts, "blocks.2.ffn_t.fc1.weight")->trained);
    for (int64_t i = 0; i < old.ctx->n_params; i++) {
        CHECK(old.ctx->params[i]->trained);
        CHECK_CLOSE(old.ctx->params[i]->lr_scale, 1.0, 0.0);
    }
    free_subject(&pairs);
    free_subject(&apart);
    free_subject(&together);
    free_subject(&images);
    free_subject(&texts);
    free_subject(&old);
}
