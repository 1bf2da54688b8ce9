/* The plan of one recording: inputs checked, rows laid out, attention sequences, draws of drop
 * path. Integers and draws, no arithmetic on activations. */
#include "base_rng.h"
#include "model_parts.h"

static bool check_counts(vlmoe_tape *tape, const vlm_mome *model, const vlm_mome_inputs *in)
{
    int64_t least = tape->ctx->ranks ? 0 : 1; /* a rank takes part in what the others do */
    if (in->n_images < 0 || in->n_texts < 0 || in->n_pairs < 0 ||
        in->n_images + in->n_texts + in->n_pairs < least) {
        vlm_poison(tape, VLMOE_E_ARG,
                   "a group needs at least one sample and no negative count, got %lld images, %lld "
                   "texts, %lld pairs",
                   (long long)in->n_images, (long long)in->n_texts, (long long)in->n_pairs);
        return false;
    }
    bool has_pictures = in->n_images + in->n_pairs > 0, has_texts = in->n_texts + in->n_pairs > 0;
    if ((has_pictures && !in->pixels) || (has_texts && (!in->token || !in->text_offset))) {
        vlm_poison(tape, VLMOE_E_ARG, "pixels, tokens or text offsets of a group are missing");
        return false;
    }
    for (int64_t i = 0; in->picture && i < in->n_images + in->n_pairs; i++) {
        if (in->picture[i] >= 0 && in->picture[i] < in->n_distinct) continue;
        vlm_poison(tape, VLMOE_E_ARG, "picture %lld of a group is number %d of %lld", (long long)i,
                   in->picture[i], (long long)in->n_distinct);
        return false;
    }
    int64_t most = (in->n_images + in->n_pairs) * (1 + model->patches) +
                   (in->n_texts + in->n_pairs) * model->text_len;
    if (most > INT32_MAX / VLMK_N_LOSSES) {
        vlm_poison(tape, VLMOE_E_ARG, "a group of up to %lld rows is too large", (long long)most);
        return false;
    }
    return true;
}

static bool check_texts(vlmoe_tape *tape, const vlm_mome *model, const vlm_mome_inputs *in)
{
    int64_t n_texts = in->n_texts + in->n_pairs;
    if (n_texts && in->text_offset[0] != 0) {
        vlm_poison(tape, VLMOE_E_ARG, "text offsets begin at %d, expected 0", in->text_offset[0]);
        return false;
    }
    for (int64_t j = 0; j < n_texts; j++) {
        int64_t length = (int64_t)in->text_offset[j + 1] - in->text_offset[j];
        if (length < 1 || length > model->text_len) {
            vlm_poison(tape, VLMOE_E_ARG,
                       "text %lld has %lld tokens, expected 1 to %lld (model.text_len)",
                       (long long)j, (long long)length, (long long)model->text_len);
            return false;
        }
    }
    for (int64_t t = 0; n_texts && t < in->text_offset[n_texts]; t++) {
        if (in->token[t] < 0 || in->token[t] >= model->n_words) {
            vlm_poison(tape, VLMOE_E_ARG, "token %lld of a group is word %d, expected 0 to %lld",
                       (long long)t, in->token[t], (long long)model->n_words - 1);
            return false;
        }
    }
    return true;
}

static void place_rows(vlm_mome_plan *plan)
{
    const vlm_mome_inputs *in = &plan->in;
    int64_t per_picture = 1 + plan->model->patches, n_texts = in->n_texts + in->n_pairs;
    vlm_mome_rows *rows = &plan->rows;
    rows->patches = plan->model->patches;
    rows->n_vision = (in->n_images + in->n_pairs) * per_picture;
    rows->n_text = n_texts ? in->text_offset[n_texts] : 0;
    rows->n_rows = rows->n_vision + rows->n_text;
    rows->text_begin = rows->n_vision;
    rows->pair_begin = in->n_images * per_picture;
    rows->pair_count = in->n_pairs * per_picture + (in->n_pairs ? in->text_offset[in->n_pairs] : 0);
}

/* Sequences: images, then pairs (text rows first, then the picture's), then texts. Runs of rows,
 * one or two a sequence. */
typedef struct sequences {
    int32_t *offset, *row;
    int64_t n, n_row, max_len;
} sequences;

static void put_run(sequences *s, int64_t begin, int64_t count)
{
    for (int64_t i = 0; i < count; i++) s->row[s->n_row++] = (int32_t)(begin + i);
}

static void end_sequence(sequences *s)
{
    s->n++;
    s->offset[s->n] = (int32_t)s->n_row;
    s->max_len = VLM_MAX(s->max_len, (int64_t)s->offset[s->n] - s->offset[s->n - 1]);
}

static bool plan_attention(vlmoe_tape *tape, vlm_mome_plan *plan)
{
    const vlm_mome_inputs *in = &plan->in;
    int64_t n_seq = in->n_images + in->n_pairs + in->n_texts, per_picture = 1 + plan->rows.patches;
    sequences s = {.offset = vlm_tape_host(tape, (size_t)(n_seq + 1) * sizeof *s.offset),
                   .row = vlm_tape_host(tape, (size_t)plan->rows.n_rows * sizeof *s.row)};
    if (!s.offset || !s.row) return false;
    s.offset[0] = 0;
    for (int64_t i = 0; i < in->n_images; i++) {
        put_run(&s, i * per_picture, per_picture);
        end_sequence(&s);
    }
    for (int64_t j = 0; j < in->n_pairs + in->n_texts; j++) {
        put_run(&s, plan->rows.text_begin + in->text_offset[j],
                in->text_offset[j + 1] - in->text_offset[j]);
        if (j < in->n_pairs) put_run(&s, (in->n_images + j) * per_picture, per_picture);
        end_sequence(&s);
    }
    plan->layout = (vlm_attention_layout){
        .n_seq = n_seq,
        .max_len = s.max_len,
        .d_offset = vlm_tape_upload(tape, s.offset, (size_t)(n_seq + 1) * sizeof *s.offset),
        .d_row = vlm_tape_upload(tape, s.row, (size_t)plan->rows.n_rows * sizeof *s.row)};
    return plan->layout.d_offset && plan->layout.d_row;
}

/* Sample of each row: images, pairs, texts, in this order. */
static void number_samples(const vlm_mome_plan *plan, int32_t *sample)
{
    const vlm_mome_inputs *in = &plan->in;
    int64_t per_picture = 1 + plan->rows.patches;
    for (int64_t r = 0; r < plan->rows.n_vision; r++) sample[r] = (int32_t)(r / per_picture);
    for (int64_t j = 0; j < in->n_pairs + in->n_texts; j++)
        for (int32_t t = in->text_offset[j]; t < in->text_offset[j + 1]; t++)
            sample[plan->rows.text_begin + t] = (int32_t)(in->n_images + j);
}

/* Drop path: one draw per (layer, branch, sample); a kept branch is scaled by 1/(1 - rate)
 * (Huang et al. 2016). */
static bool plan_drop_path(vlmoe_tape *tape, vlm_mome_plan *plan)
{
    const vlm_mome *model = plan->model;
    int64_t n_rows = plan->rows.n_rows, n_samples = plan->layout.n_seq,
            n = 2 * model->layers * n_rows;
    plan->d_drop_path = NULL;
    plan->drop_path = NULL;
    if (tape->mode != VLMOE_TRAIN || model->drop_path <= 0.0) return true;
    int32_t *sample = vlm_tape_host(tape, (size_t)n_rows * sizeof *sample);
    double *draw = vlm_tape_host(tape, (size_t)n_samples * sizeof *draw);
    plan->drop_path = vlm_tape_host(tape, (size_t)n * sizeof *plan->drop_path);
    if (!sample || !draw || !plan->drop_path) return false;
    double *scale = vlm_tape_host(tape, (size_t)n * sizeof *scale);
    if (!scale) return false;
    number_samples(plan, sample);
    for (int64_t i = 0; i < 2 * model->layers; i++) {
        double rate = model->blocks[i / 2].drop_path;
        vlm_rng rng = vlm_rng_at(tape->ctx->seed, VLM_STREAM_DROP_PATH, (uint64_t)tape->step,
                                 (uint64_t)tape->group, (uint64_t)i);
        for (int64_t s = 0; s < n_samples; s++)
            draw[s] = vlm_rng_unit(&rng) >= rate ? 1.0 / (1.0 - rate) : 0.0;
        for (int64_t r = 0; r < n_rows; r++) scale[i * n_rows + r] = draw[sample[r]];
    }
    for (int64_t i = 0; i < n; i++) plan->drop_path[i] = (float)scale[i];
    plan->d_drop_path = vlm_upload_wide(tape, scale, n);
    return plan->d_drop_path != NULL;
}

vlm_mome_plan *vlm_mome_plan_make(vlmoe_tape *tape, const vlm_mome *model,
                                  const vlm_mome_inputs *inputs)
{
    if (vlmoe_tape_status(tape)) return NULL;
    if (!check_counts(tape, model, inputs) || !check_texts(tape, model, inputs)) return NULL;
    vlm_mome_plan *plan = vlm_tape_host(tape, sizeof *plan);
    if (!plan) return NULL;
    plan->model = model;
    plan->in = *inputs;
    place_rows(plan);
    return plan_attention(tape, plan) && plan_drop_path(tape, plan) ? plan : NULL;
}
