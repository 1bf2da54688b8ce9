/* The contrastive loss over all groups of a step, in two passes (Gao et al. 2021, gradient caching): what it is on features alone, and
 * how its slopes come back into each group's recording. */
#include "objective_contrastive.h"
#include <math.h>

/* Of each row, its positives. */
typedef struct positives {
    int32_t *offset, *label; /* [n + 1], [offset[n]] */
    double *score;           /* [offset[n]] */
} positives;

static bool is_positive(const int64_t *concept, int64_t i, int64_t j)
{
    return concept ? concept[i] == concept[j] : i == j;
}

static bool list_positives(vlmoe_tape *tape, int64_t n, const int64_t *concept, positives *p)
{
    int64_t n_entries = 0;
    p->offset = vlm_tape_host(tape, (size_t)(n + 1) * sizeof *p->offset);
    if (!p->offset) return false;
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) n_entries += is_positive(concept, i, j);
        p->offset[i + 1] = (int32_t)n_entries;
    }
    p->label = vlm_tape_host(tape, (size_t)VLM_MAX(n_entries, 1) * sizeof *p->label);
    p->score = vlm_tape_host(tape, (size_t)VLM_MAX(n_entries, 1) * sizeof *p->score);
    if (!p->label || !p->score) return false;
    for (int64_t i = 0; i < n; i++) {
        int32_t at = p->offset[i];
        for (int64_t j = 0; j < n; j++) {
            if (!is_positive(concept, i, j)) continue;
            p->label[at] = (int32_t)j;
            p->score[at++] = 1.0 / (double)(p->offset[i + 1] - p->offset[i]);
        }
    }
    return true;
}

bool vlm_contrastive_targets(vlmoe_tape *tape, int64_t n, int64_t n_mean, const int64_t *concept,
                             vlm_class_targets *out)
{
    positives p;
    double *weight = vlm_tape_host(tape, (size_t)VLM_MAX(n, 1) * sizeof *weight);
    if (!weight || !list_positives(tape, n, concept, &p)) return false;
    for (int64_t i = 0; i < n; i++) weight[i] = 1.0 / (double)n_mean;
    int64_t n_entries = p.offset[n];
    *out = (vlm_class_targets){
        .kind = VLMK_CLASS_SOFTMAX,
        .d_offset = vlm_tape_upload(tape, p.offset, (size_t)(n + 1) * sizeof *p.offset),
        .d_label = vlm_tape_upload(tape, p.label, (size_t)n_entries * sizeof *p.label),
        .d_score = vlm_upload_wide(tape, p.score, n_entries),
        .d_row_weight = vlm_upload_wide(tape, weight, n)};
    return out->d_offset && out->d_label && out->d_score && out->d_row_weight;
}

vlmoe_status vlm_contrastive_read(vlmoe_tape *tape, const vlm_contrastive_rows *rows, double *loss,
                                  double *recall)
{
    vlmoe_context *ctx = tape->ctx;
    int64_t n = rows->n, N = n * rows->n_groups;
    double *nll = vlm_tape_host(tape, (size_t)N * sizeof *nll);
    int32_t *best = vlm_tape_host(tape, (size_t)N * sizeof *best);
    if (!nll || !best) return vlmoe_tape_status(tape);
    VLM_TRY(vlm_download_wide(ctx, rows->result->d_row_loss, N, nll));
    VLM_TRY(
        ctx->backend->download(ctx->device, best, rows->result->d_best, (size_t)N * sizeof *best));
    for (int64_t g = 0; g < rows->n_groups; g++) {
        loss[g] = recall[g] = 0.0;
        for (int64_t i = g * n; i < (g + 1) * n; i++) {
            loss[g] += nll[i] / (double)n;
            recall[g] += is_positive(rows->concept, i, best[i]) ? 1.0 / (double)n : 0.0;
        }
    }
    return VLMOE_OK;
}

/* ---- the whole step ---- */

/* A leaf that wants a gradient and is no parameter. */
static vlmoe_tensor *leaf(vlmoe_tape *tape, int64_t rows, int64_t cols, const double *host)
{
    vlmoe_tensor *t = vlm_tensor_new(tape, tape->ctx->wide, 2, (const int64_t[]){rows, cols});
    if (!t) return NULL;
    const void *block = host ? vlm_upload_wide(tape, host, rows * cols) : t->data;
    vlmoe_status status =
        block && block != t->data
            ? tape->ctx->backend->copy(tape->ctx->device, t->data, block, vlmoe_tensor_bytes(t))
            : VLMOE_OK;
    if (host) vlm_tape_give(tape, block);
    if (status) return vlm_poison(tape, status, "features cannot be copied to the device");
    t->wants_grad = true;
    return t;
}

typedef struct solve {
    vlmoe_tape *tape;
    const vlm_contrastive_set *set;
    int64_t N, E;
    vlmoe_tensor *feature[2], *log_scale;
    vlm_class_result result[2];
} solve;

static void record_solve(solve *s, const vlm_head *head)
{
    vlmoe_tape *tape = s->tape;
    bool has_data = tape->ctx->backend->has_data;
    double log_scale = 0.0;
    vlm_class_targets targets;
    const vlm_linear_opts opts = {.out_dtype = tape->ctx->wide};
    if (has_data && vlm_download_wide(tape->ctx, vlm_head_log_scale(head)->data, 1, &log_scale)) {
        vlm_poison(tape, VLMOE_E_DEVICE, "the temperature cannot be read");
        return;
    }
    for (int side = 0; side < 2; side++)
        s->feature[side] = leaf(tape, s->N, s->E, has_data ? s->set->feature[side] : NULL);
    s->log_scale = leaf(tape, 1, 1, &log_scale);
    if (!vlm_contrastive_targets(tape, s->N, s->set->n, s->set->concept, &targets)) return;
    for (int side = 0; side < 2; side++) {
        vlmoe_tensor *cosine =
            vlm_linear(tape, s->feature[side], s->feature[1 - side], NULL, &opts);
        vlmoe_tensor *similarity = vlm_temper(tape, cosine, s->log_scale);
        vlm_tape_release(tape, cosine);
        vlmoe_loss_add(tape, vlm_class_loss(tape, similarity, &targets, &s->result[side]),
                       0.5 * s->set->weight);
        vlm_tape_release(tape, similarity);
    }
}

static vlmoe_status read_solution(const solve *s, vlm_contrastive_solution *out)
{
    const vlm_contrastive_set *set = s->set;
    vlmoe_tape *tape = s->tape;
    double *loss = vlm_tape_host(tape, (size_t)(2 * set->n_groups) * sizeof *loss);
    if (!loss) return vlmoe_tape_status(tape);
    for (int side = 0; side < 2; side++) {
        VLM_TRY(vlm_download_wide(tape->ctx, vlm_grad_of(s->feature[side]), s->N * s->E,
                                  out->slope[side]));
        const vlm_contrastive_rows rows = {&s->result[side], set->concept, set->n, set->n_groups};
        VLM_TRY(vlm_contrastive_read(tape, &rows, loss + side * set->n_groups, out->recall[side]));
    }
    for (int64_t g = 0; g < set->n_groups; g++) {
        out->contrastive[g] = 0.5 * (loss[g] + loss[set->n_groups + g]);
        out->loss[g] = set->weight * out->contrastive[g];
    }
    return vlm_download_wide(tape->ctx, vlm_grad_of(s->log_scale), 1, &out->log_scale_slope);
}

vlmoe_status vlm_contrastive_solve(vlmoe_context *ctx, const vlm_head *head,
                                   const vlm_contrastive_set *set, vlm_contrastive_solution *out)
{
    solve s = {.set = set, .N = set->n_groups * set->n, .E = vlm_head_embed_width(head)};
    if (s.N < 1 || s.E < 1)
        return vlm_fail(vlm_ctx_error(ctx), VLMOE_E_ARG, "features [%lld, %lld] of a step",
                        (long long)s.N, (long long)s.E);
    VLM_TRY(vlmoe_tape_begin(ctx, VLMOE_TRAIN, &s.tape));
    vlm_tape_where(s.tape, "contrastive");
    record_solve(&s, head);
    vlmoe_status st = vlmoe_tape_backward(s.tape, 1.0);
    if (!st && ctx->backend->has_data) st = read_solution(&s, out);
    vlmoe_tape_end(s.tape);
    return st;
}

/* ---- back into a group ---- */

/* sum over elements of x slope, as a product: its gradient on x is slope. */
static vlmoe_tensor *dot(vlmoe_tape *tape, vlmoe_tensor *x, const double *slope)
{
    const vlm_linear_opts opts = {.out_dtype = tape->ctx->wide};
    vlmoe_tensor *constant =
        leaf(tape, 1, vlm_count(x), tape->ctx->backend->has_data ? slope : NULL);
    if (!constant) return NULL;
    constant->wants_grad = false;
    return vlm_linear(tape, vlm_reshape_view(tape, x, 1), constant, NULL, &opts);
}

void vlm_contrastive_inject(vlmoe_tape *tape, const vlm_head *head,
                            const vlm_contrastive_part *part, vlmoe_tensor *const feature[2])
{
    vlmoe_context *ctx = tape->ctx;
    double rest = part->loss, log_scale = 0.0;
    vlm_tape_where(tape, "contrastive");
    for (int side = 0; side < 2; side++) {
        vlmoe_loss_add(tape, dot(tape, feature[side], part->slope[side]), 1.0);
        for (int64_t i = 0; ctx->backend->has_data && i < vlm_count(feature[side]); i++)
            rest -= part->feature[side][i] * part->slope[side][i];
    }
    if (part->log_scale_slope != 0.0) {
        vlmoe_loss_add(tape, dot(tape, vlm_head_log_scale(head), &part->log_scale_slope), 1.0);
        if (vlmoe_tape_status(tape)) return;
        vlmoe_status status = vlm_download_wide(ctx, vlm_head_log_scale(head)->data, 1, &log_scale);
        if (status) vlm_poison(tape, status, "the temperature cannot be read");
        rest -= log_scale * part->log_scale_slope;
    }
    vlmoe_tensor *value = leaf(tape, 1, 1, &rest);
    if (!value) return;
    value->wants_grad = false;
    vlmoe_loss_add(tape, value, 1.0);
}
