/* vlmoe-eval predict: what a model of a task answers about files that somebody has. Ranking is cli_predict_rank.c's. */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "cli_common.h"
#include "cli_eval.h"
#include "cli_predict.h"

static const char help[] =
    "usage: vlmoe-eval predict --checkpoint DIR [--best] INPUTS [--top N] [--json FILE]\n"
    "                          [section.key=value ...]\n"
    "\n"
    "What a model of a task answers; the inputs depend on what it was trained for:\n"
    "  vqa        --image FILE --question TEXT           the likeliest answers\n"
    "  nlvr2      --image FILE --image FILE --text TEXT  is the statement true of both pictures?\n"
    "  classify   --image FILE                           the likeliest classes\n"
    "  nli        --text PREMISE --text HYPOTHESIS       does it follow?\n"
    "  retrieval  --image FILE --captions FILE           ranks the lines of the file\n"
    "             --text TEXT --images DIR               ranks the pictures of the folder\n"
    "\n"
    "  --top N      answers shown [5]\n"
    "  --json FILE  the same as one JSON object\n"
    "\n"
    "Exit codes: 0 done, 2 arguments, 3 bad input file, 4 file system, 5 memory, 8 anything "
    "else.\n";

void vlm_predict_rows_free(vlm_predict_rows *rows)
{
    for (int64_t i = 0; i < rows->n; i++) vlm_free(rows->row[i].name);
    vlm_free(rows->row);
    *rows = (vlm_predict_rows){0};
}

/* ---- what a task wants ---- */

static const struct {
    vlm_task_kind kind;
    int n_images, n_texts;
    const char *wants;
} forms[] = {
    {VLM_TASK_VQA, 1, 1, "one --image and one --question"},
    {VLM_TASK_NLVR2, 2, 1, "two --image and one --text"},
    {VLM_TASK_CLASSIFY, 1, 0, "one --image"},
    {VLM_TASK_NLI, 0, 2, "two --text"},
    {VLM_TASK_RETRIEVAL, 1, 0, "one --image with --captions, or one --text with --images"}};

static vlmoe_status check_inputs(const vlmoe_trainer *t, const vlm_predict_options *o,
                                 vlmoe_error *error)
{
    const bool has_captions = o->captions != NULL, has_images = o->images != NULL;
    for (int i = 0; i < VLM_COUNT(forms); i++) {
        if (forms[i].kind != t->task->kind) continue;
        bool fits = o->n_images == forms[i].n_images && o->n_texts == forms[i].n_texts &&
                    !has_captions && !has_images;
        if (t->task->kind == VLM_TASK_RETRIEVAL)
            fits = (o->n_images == 1 && !o->n_texts && has_captions && !has_images) ||
                   (!o->n_images && o->n_texts == 1 && !has_captions && has_images);
        for (int k = 0; k < o->n_texts && fits; k++)
            if (!o->text[k][strspn(o->text[k], " \t\r\n")])
                return vlm_fail(error, VLMOE_E_ARG, "the text is empty");
        if (fits) return VLMOE_OK;
        return vlm_fail(error, VLMOE_E_ARG, "a model of task %s takes %s", t->task->name,
                        forms[i].wants);
    }
    return vlm_fail(error, VLMOE_E_ARG,
                    "a checkpoint of task %s answers nothing: tune it first (run.task vqa, nlvr2, "
                    "classify, nli or retrieval)",
                    t->task->name);
}

/* ---- a group of one example ---- */

static vlmoe_status put_text(vlmoe_trainer *t, const vlm_predict_options *o, vlm_group *g,
                             vlmoe_error *error)
{
    const int64_t limit = t->config->model.text_len;
    int64_t n = 0, n_all = 0;
    const vlm_bytes two[2] = {{(const unsigned char *)o->text[0], strlen(o->text[0])},
                              {(const unsigned char *)(o->n_texts > 1 ? o->text[1] : ""),
                               o->n_texts > 1 ? strlen(o->text[1]) : 0}};
    if (o->n_texts > 1)
        VLM_TRY(vlm_spm_encode_pair(t->spm, two, limit, g->token, &n, &n_all, error));
    else
        VLM_TRY(
            vlm_spm_encode(t->spm, o->text[0], two[0].bytes, limit, g->token, &n, &n_all, error));
    if (n_all > n)
        fprintf(stderr, "note: the text has %lld tokens and was cut to %lld\n", (long long)n_all,
                (long long)n);
    /* both pictures of nlvr2 are read with the text */
    const int64_t copies = VLM_MAX(g->n_pairs, g->n_texts);
    for (int64_t i = 0; i < copies; i++) {
        memmove(g->token + i * n, g->token, (size_t)n * sizeof *g->token);
        g->text_offset[i + 1] = (int32_t)((i + 1) * n);
    }
    g->n_tokens = copies * n;
    return VLMOE_OK;
}

static vlmoe_status fill_group(vlmoe_trainer *t, const vlm_predict_options *o, vlm_group *g,
                               vlmoe_error *error)
{
    const vlm_cfg_model *m = &t->config->model;
    const int64_t bytes = m->image_size * m->image_size * 3;
    const bool has_pairs = o->n_images && o->n_texts;
    *g = (vlm_group){.image_size = m->image_size,
                     .n_patches = (m->image_size / m->patch) * (m->image_size / m->patch),
                     .n_pairs = has_pairs ? o->n_images : 0,
                     .n_images = has_pairs ? 0 : o->n_images,
                     .n_texts = o->n_images ? 0 : 1,
                     .n_examples = 1};
    g->pixels = vlm_alloc_array(VLM_CLI_MOST_GIVEN, (size_t)bytes);
    g->token = vlm_alloc_array((size_t)m->text_len * VLM_CLI_MOST_GIVEN, sizeof *g->token);
    g->text_offset = vlm_alloc_array(VLM_CLI_MOST_GIVEN + 1, sizeof *g->text_offset);
    g->sample = vlm_alloc_array(VLM_CLI_MOST_GIVEN, sizeof *g->sample);
    if (!g->pixels || !g->token || !g->text_offset || !g->sample)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a group");
    for (int i = 0; i < o->n_images; i++)
        VLM_TRY(vlm_picture_load(t->config, o->image[i], g->pixels + i * bytes, error));
    return o->n_texts ? put_text(t, o, g, error) : VLMOE_OK;
}

static void free_group(vlm_group *g)
{
    vlm_free(g->pixels);
    vlm_free(g->token);
    vlm_free(g->text_offset);
    vlm_free(g->sample);
}

static vlmoe_status record(vlmoe_trainer *t, const vlm_group *g, double *logits, vlmoe_error *error)
{
    vlmoe_tape *tape = NULL;
    vlm_recording recording;
    const vlm_models models = {.model = t->model, .head = t->head};
    vlmoe_status st = vlmoe_tape_begin(t->ctx, VLMOE_PREDICT, &tape);
    if (!st) {
        vlm_recording_make(tape, &models, t->config, g, NULL, &recording);
        st = vlmoe_tape_status(tape);
        if (!st) st = vlm_task_logits_read(tape, &recording.task, logits);
        vlmoe_tape_end(tape);
    }
    return st ? vlm_fail(error, st, "%s", vlmoe_context_error(t->ctx)) : VLMOE_OK;
}

typedef struct class_row {
    double logit;
    int64_t label;
} class_row;

/* The largest logit first, equal ones in the order of classes. */
static int compare_rows(const void *a, const void *b)
{
    const class_row *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->label > y->label) - (x->label < y->label);
}

/* The best classes, as many as are wanted. */
static vlmoe_status put_classes(const vlmoe_trainer *t, const double *logits, class_row *rows,
                                int64_t top, vlm_predict_rows *out, vlmoe_error *error)
{
    const int64_t n = t->classes->n;
    const vlm_shares shares = vlm_shares_of(logits, n, t->task->kind == VLM_TASK_VQA);
    for (int64_t i = 0; i < n; i++) rows[i] = (class_row){logits[i], i};
    qsort(rows, (size_t)n, sizeof *rows, compare_rows);
    for (int64_t i = 0; i < VLM_MIN(n, top); i++) {
        out->row[i] = (vlm_predict_row){.name = vlm_strdup(t->classes->name[rows[i].label]),
                                        .share = vlm_share(&shares, rows[i].logit),
                                        .match = NAN};
        out->n++;
        if (!out->row[i].name) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for answers");
    }
    return VLMOE_OK;
}

static vlmoe_status classify(vlmoe_trainer *t, const vlm_predict_options *o, vlm_predict_rows *out,
                             vlmoe_error *error)
{
    vlm_group group;
    const size_t n = (size_t)t->classes->n;
    double *logits = vlm_alloc_array(n, sizeof *logits);
    class_row *rows = vlm_alloc_array(n, sizeof *rows);
    out->row = vlm_alloc_array(n, sizeof *out->row);
    vlmoe_status st = fill_group(t, o, &group, error);
    if (!st && (!logits || !rows || !out->row))
        st = vlm_fail(error, VLMOE_E_NOMEM, "out of memory for answers");
    if (!st) st = record(t, &group, logits, error);
    if (!st) st = put_classes(t, logits, rows, o->top, out, error);
    free_group(&group);
    vlm_free(logits);
    vlm_free(rows);
    return st;
}

/* ---- showing ---- */

static void print_rows(const vlmoe_trainer *t, const vlm_predict_rows *rows, int64_t top)
{
    const bool ranks = t->task->kind == VLM_TASK_RETRIEVAL;
    for (int64_t i = 0; i < VLM_MIN(rows->n, top); i++) {
        const vlm_predict_row *r = &rows->row[i];
        if (!ranks) printf("%6.2f %%  %s\n", 100.0 * r->share, r->name);
        else if (isnan(r->match))
            printf("%4lld  cosine %+.3f  %s\n", (long long)i + 1, r->share, r->name);
        else
            printf("%4lld  cosine %+.3f  match %5.1f %%  %s\n", (long long)i + 1, r->share,
                   100.0 * r->match, r->name);
    }
}

static vlmoe_status write_json(const char *path, const vlmoe_trainer *t,
                               const vlm_predict_rows *rows, vlmoe_error *error)
{
    vlm_text out = {0};
    vlm_text_put(&out, "{\"task\": \"%s\", \"step\": %lld, \"answers\": [", t->task->name,
                 (long long)t->step);
    for (int64_t i = 0; i < rows->n; i++) {
        const vlm_predict_row *r = &rows->row[i];
        vlm_text_put(&out, "%s\n{\"answer\": ", i ? "," : "");
        vlm_text_json_string(&out, r->name, strlen(r->name));
        vlm_cli_json_number(&out, t->classes ? "share" : "cosine", r->share);
        if (!isnan(r->match)) vlm_cli_json_number(&out, "match", r->match);
        vlm_text_put(&out, "}");
    }
    vlm_text_put(&out, "]}\n");
    vlmoe_status st = out.failed ? vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s", path)
                                 : vlm_file_replace(path, out.data, out.bytes, error);
    vlm_text_free(&out);
    return st;
}

static int predict(const char *tool, const vlm_predict_options *o)
{
    vlm_cli_model model = {0};
    vlm_predict_rows rows = {0};
    vlmoe_error error = {VLMOE_OK, ""};
    vlmoe_status st = vlm_cli_check_outputs(&o->json, 1, &error);
    if (!st) st = vlm_cli_model_open_bare(tool, &o->model, &model, &error);
    if (!st) st = check_inputs(model.trainer, o, &error);
    if (!st)
        st = model.trainer->task->kind == VLM_TASK_RETRIEVAL
                 ? vlm_predict_rank(tool, model.trainer, o, &rows, &error)
                 : classify(model.trainer, o, &rows, &error);
    if (!st) print_rows(model.trainer, &rows, o->top);
    if (!st && o->json) st = write_json(o->json, model.trainer, &rows, &error);
    vlm_predict_rows_free(&rows);
    vlm_cli_model_close(&model);
    return st ? vlm_cli_report(tool, &error) : CLI_OK;
}

/* ---- arguments ---- */

static const struct option long_options[] = {{"checkpoint", required_argument, NULL, 'c'},
                                             {"best", no_argument, NULL, 'b'},
                                             {"image", required_argument, NULL, 'i'},
                                             {"text", required_argument, NULL, 't'},
                                             {"question", required_argument, NULL, 't'},
                                             {"captions", required_argument, NULL, 'C'},
                                             {"images", required_argument, NULL, 'I'},
                                             {"top", required_argument, NULL, 'n'},
                                             {"json", required_argument, NULL, 'j'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

/* false = reported. */
static bool read_option(const char *tool, int code, vlm_predict_options *o)
{
    switch (code) {
    case 'c':
        o->model.checkpoint = optarg;
        return true;
    case 'b':
        o->model.best = true;
        return true;
    case 'i':
        return vlm_cli_add(tool, "--image", optarg, o->image, &o->n_images, VLM_CLI_MOST_GIVEN);
    case 't':
        return vlm_cli_add(tool, "--text", optarg, o->text, &o->n_texts, VLM_CLI_MOST_GIVEN);
    case 'C':
        o->captions = optarg;
        return true;
    case 'I':
        o->images = optarg;
        return true;
    case 'j':
        o->json = optarg;
        return true;
    case 'n':
        return vlm_cli_int(tool, "--top", optarg, 1, 1000000, &o->top);
    default:
        vlm_cli_usage(tool, "see the message above");
        return false;
    }
}

int vlm_cli_eval_predict(int argc, char **argv)
{
    vlm_predict_options o = {.top = VLM_TOP};
    const char *tool = argv[0];
    for (int code; (code = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        if (code == 'h') {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (!read_option(tool, code, &o)) return CLI_USAGE;
    }
    if (!vlm_cli_settings(tool, argc, argv, optind, &o.model)) return CLI_USAGE;
    if (!o.model.checkpoint) return vlm_cli_usage(tool, "--checkpoint DIR is missing");
    return predict(tool, &o);
}
