/* VQA, NLVR2 and NLI: annotations walked once, each looked up among the predictions. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "cli_score.h"
#include "data_records.h"
#include "data_stream.h"
#include "metric_nlvr2.h"
#include "metric_top.h"
#include "metric_vqa.h"

/* What one annotation is shown to; state is the task's. */
typedef vlmoe_status (*record_fn)(void *state, const char *path, const vlm_records *records,
                                  const vlm_value *value, vlmoe_error *error);

static vlmoe_status walk(const char *path, const char *list, record_fn visit, void *state,
                         vlmoe_error *error)
{
    vlm_records *records = NULL;
    const vlm_value *value = NULL;
    VLM_TRY(vlm_records_open(path, list, 0, &records, error));
    vlmoe_status st = vlm_records_next(records, &value, error);
    while (!st && value) {
        st = visit(state, path, records, value, error);
        if (!st) st = vlm_records_next(records, &value, error);
    }
    vlm_records_close(records);
    return st;
}

static vlmoe_status put_named(vlm_score_sheet *sheet, const char *what, const vlm_named *named,
                              vlmoe_error *error)
{
    for (int64_t i = 0; i < vlm_named_count(named); i++) {
        const vlm_named_row *row = vlm_named_row_at(named, i);
        VLM_TRY(vlm_score_put(sheet, row->n, vlm_percent(row->sum, row->n), error, "%s: %s", what,
                              row->name));
    }
    return VLMOE_OK;
}

/* ---- VQA ---- */

typedef struct vqa_state {
    vlm_scored answers;
    vlm_vqa_tally tally;
} vqa_state;

static vlmoe_status visit_question(void *user, const char *path, const vlm_records *records,
                                   const vlm_value *value, vlmoe_error *error)
{
    vqa_state *state = user;
    char scratch[32];
    int64_t at, n = 0;
    const char **truth = NULL, *id = vlm_score_id(vlm_json_get(value, "question_id"), scratch);
    double score = 0.0;
    if (!id) return vlm_records_fail(records, error, "a question needs question_id");
    VLM_TRY(vlm_scored_take(&state->answers, id, path, &at, error));
    vlmoe_status st = vlm_vqa_truth(vlm_json_get(value, "answers"), &truth, &n, error);
    if (!st && !n) st = vlm_fail(error, VLMOE_E_FORMAT, "the question has no answers");
    if (st == VLMOE_E_FORMAT)
        vlm_fail_in(error, "%s byte %llu", path, (unsigned long long)vlm_records_offset(records));
    if (!st && at >= 0)
        st = vlm_vqa_score(vlm_scored_text(&state->answers, at, 0), truth, n, &score, error);
    vlm_free(truth);
    if (st) return st;
    return vlm_vqa_tally_add(&state->tally, score,
                             vlm_json_text(vlm_json_get(value, "answer_type")),
                             vlm_json_text(vlm_json_get(value, "question_type")), error);
}

static vlmoe_status put_vqa(const vlm_vqa_tally *tally, vlm_score_sheet *out, vlmoe_error *error)
{
    double overall = vlm_percent(tally->sum, tally->n);
    VLM_TRY(vlm_score_put(out, tally->n, overall, error, "overall"));
    VLM_TRY(put_named(out, "answer type", tally->answer_types, error));
    return put_named(out, "question type", tally->question_types, error);
}

vlmoe_status vlm_score_vqa(const vlm_score_options *options, const char *results,
                           vlm_score_sheet *out, vlmoe_error *error)
{
    vqa_state state = {0};
    vlmoe_status st = vlm_scored_read(results, VLM_SCORED_VQA, &state.answers, error);
    if (!st) st = vlm_vqa_tally_init(&state.tally, error);
    for (int i = 0; i < options->n_annotations && !st; i++)
        st = walk(options->annotations[i], "annotations", visit_question, &state, error);
    if (!st) st = vlm_scored_close(&state.answers, options, out, error);
    if (!st) st = put_vqa(&state.tally, out, error);
    vlm_scored_free(&state.answers);
    vlm_vqa_tally_free(&state.tally);
    return st;
}

/* ---- NLVR2 ---- */

typedef struct nlvr2_state {
    vlm_scored answers;
    vlm_nlvr2 *tally;
} nlvr2_state;

static bool is_truth(const char *text)
{
    return text && (!strcasecmp(text, "True") || !strcasecmp(text, "False"));
}

static vlmoe_status visit_sentence(void *user, const char *path, const vlm_records *records,
                                   const vlm_value *value, vlmoe_error *error)
{
    nlvr2_state *state = user;
    int64_t at;
    const char *id = vlm_json_text(vlm_json_get(value, "identifier"));
    const char *label = vlm_json_text(vlm_json_get(value, "label"));
    if (!id || !is_truth(label))
        return vlm_records_fail(records, error,
                                "an example needs identifier and the label \"True\" or \"False\"");
    VLM_TRY(vlm_scored_take(&state->answers, id, path, &at, error));
    const char *answer = at < 0 ? NULL : vlm_scored_text(&state->answers, at, 0);
    if (answer && !is_truth(answer))
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: \"%s\" is answered by \"%s\", not True or False", state->answers.path,
                        id, answer);
    bool is_right = answer && !strcasecmp(answer, label);
    return vlm_nlvr2_add(state->tally, id, is_right, error);
}

vlmoe_status vlm_score_nlvr2(const vlm_score_options *options, const char *results,
                             vlm_score_sheet *out, vlmoe_error *error)
{
    nlvr2_state state = {.tally = vlm_nlvr2_create()};
    vlmoe_status st = VLMOE_OK;
    if (!state.tally) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for NLVR2");
    st = vlm_scored_read(results, VLM_SCORED_FIELDS, &state.answers, error);
    for (int i = 0; i < options->n_annotations && !st; i++)
        st = walk(options->annotations[i], NULL, visit_sentence, &state, error);
    if (!st) st = vlm_scored_close(&state.answers, options, out, error);
    vlm_nlvr2_result r = vlm_nlvr2_count(state.tally);
    if (!st) st = vlm_score_put(out, r.n, vlm_percent((double)r.right, r.n), error, "accuracy");
    if (!st)
        st = vlm_score_put(out, r.sentences, vlm_percent((double)r.consistent, r.sentences), error,
                           "consistency");
    vlm_scored_free(&state.answers);
    vlm_nlvr2_destroy(state.tally);
    return st;
}

/* ---- NLI ---- */

enum { NLI_LABELS = 3, NLI_COLUMNS = 64 };
static const char *const nli_label[NLI_LABELS] = {"entailment", "neutral", "contradiction"};

typedef struct nli_state {
    vlm_scored answers;
    const char *file;   /* "matched", "mismatched", or the file's own name */
    int64_t row;        /* of the file, without those that have no label */
    int64_t n_no_label; /* gold_label "-" */
    vlm_named *files, *genres;
    vlm_top *top;
} nli_state;

static int label_of(const char *text)
{
    for (int i = 0; i < NLI_LABELS; i++)
        if (!strcmp(text, nli_label[i])) return i;
    return -1;
}

/* One example that was read. */
static vlmoe_status add_example(nli_state *state, const char *path, const char *id,
                                const char *label, const char *genre, vlmoe_error *error)
{
    int64_t at;
    if (!strcmp(label, "-")) {
        state->n_no_label++;
        const int64_t *place =
            state->answers.by_index ? NULL : vlm_idmap_find(&state->answers.ids, id, strlen(id));
        if (place) state->answers.item[*place].is_used = true; /* may be answered all the same */
        return VLMOE_OK;
    }
    int truth = label_of(label);
    if (truth < 0)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: \"%s\" has the label \"%s\", which is none of entailment, neutral, "
                        "contradiction and -",
                        path, id, label);
    VLM_TRY(vlm_scored_take(&state->answers, id, path, &at, error));
    int64_t answer = at < 0 ? -1 : label_of(vlm_scored_text(&state->answers, at, 0));
    if (at >= 0 && answer < 0)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s: \"%s\" is answered by \"%s\", which is none of entailment, neutral "
                        "and contradiction",
                        state->answers.path, id, vlm_scored_text(&state->answers, at, 0));
    state->row++;
    VLM_TRY(vlm_top_add_best(state->top, &answer, 1, truth, error));
    VLM_TRY(vlm_named_add(state->files, state->file, answer == truth, error));
    return genre ? vlm_named_add(state->genres, genre, answer == truth, error) : VLMOE_OK;
}

static vlmoe_status visit_pair(void *user, const char *path, const vlm_records *records,
                               const vlm_value *value, vlmoe_error *error)
{
    nli_state *state = user;
    char scratch[32];
    const vlm_value *id = vlm_json_get(value, "pairID");
    const char *label = vlm_json_text(vlm_json_get(value, "gold_label"));
    const char *name = vlm_score_id(id, scratch);
    if (!name || !label)
        return vlm_records_fail(records, error, "an example needs pairID and gold_label");
    char row[32];
    snprintf(row, sizeof row, "%lld", (long long)state->row);
    return add_example(state, path, state->answers.by_index ? row : name, label,
                       vlm_json_text(vlm_json_get(value, "genre")), error);
}

/* Numbers of the columns id, label, genre in a heading; -1: not there. */
static bool find_columns(nli_state *state, char *line, int column[3])
{
    const char *const wanted[3] = {state->answers.by_index ? "index" : "pairID", "gold_label",
                                   "genre"};
    char *field[NLI_COLUMNS];
    int n = vlm_score_fields(line, '\t', field, NLI_COLUMNS);
    for (int k = 0; k < 3; k++) {
        column[k] = -1;
        for (int i = 0; i < n; i++)
            if (!strcmp(field[i], wanted[k])) column[k] = i;
    }
    return column[0] >= 0 && column[1] >= 0;
}

/* GLUE's tsv: a heading, and no quoting. */
static vlmoe_status read_tsv(nli_state *state, const char *path, vlmoe_error *error)
{
    vlm_stream stream = {0};
    char *line = NULL, *field[NLI_COLUMNS];
    size_t bytes = 0;
    int column[3] = {0};
    vlmoe_status st = vlm_stream_open_text(path, &stream, error);
    for (int64_t number = 1; !st; number++) {
        st = vlm_stream_line(&stream, &line, &bytes, error);
        if (st || !line) break;
        if (number == 1 && !find_columns(state, line, column))
            st = vlm_fail(error, VLMOE_E_FORMAT,
                          "%s: its first line names no columns %s and "
                          "gold_label",
                          path, state->answers.by_index ? "index" : "pairID");
        if (number == 1 || !bytes) continue;
        int n = vlm_score_fields(line, '\t', field, NLI_COLUMNS);
        if (n <= VLM_MAX(column[0], VLM_MAX(column[1], column[2])))
            st = vlm_fail(error, VLMOE_E_FORMAT, "%s line %lld: %d fields, fewer than the heading",
                          path, (long long)number, n);
        else
            st = add_example(state, path, field[column[0]], field[column[1]],
                             column[2] < 0 ? NULL : field[column[2]], error);
    }
    vlm_stream_close(&stream);
    return st;
}

static vlmoe_status read_nli(nli_state *state, const char *path, vlmoe_error *error)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = strlen(name);
    state->file = strstr(name, "mismatched") ? "mismatched"
                  : strstr(name, "matched")  ? "matched"
                                             : name;
    state->row = 0;
    if (n > 4 && !strcmp(name + n - 4, ".tsv")) return read_tsv(state, path, error);
    return walk(path, NULL, visit_pair, state, error);
}

static vlmoe_status put_nli(const nli_state *state, vlm_score_sheet *out, vlmoe_error *error)
{
    vlm_top_result r = vlm_top_count(state->top);
    if (!r.n) return vlm_fail(error, VLMOE_E_FORMAT, "no example with a label");
    VLM_TRY(put_named(out, "accuracy", state->files, error));
    VLM_TRY(put_named(out, "genre", state->genres, error));
    VLM_TRY(vlm_score_put(out, r.n, 100.0 * r.majority, error, "always \"%s\"",
                          nli_label[r.majority_class]));
    for (int truth = 0; truth < NLI_LABELS; truth++)
        for (int answer = 0; answer < NLI_LABELS; answer++) {
            int64_t n = vlm_top_confusion(state->top, truth, answer);
            int64_t of = vlm_top_labels(state->top, truth);
            VLM_TRY(vlm_score_put(out, of, vlm_percent((double)n, of), error, "%s answered %s",
                                  nli_label[truth], nli_label[answer]));
        }
    if (state->n_no_label)
        snprintf(out->note + strlen(out->note), sizeof out->note - strlen(out->note),
                 "%s%lld without an agreed label left out", *out->note ? "; " : "",
                 (long long)state->n_no_label);
    return VLMOE_OK;
}

vlmoe_status vlm_score_nli(const vlm_score_options *options, const char *results,
                           vlm_score_sheet *out, vlmoe_error *error)
{
    nli_state state = {.files = vlm_named_create(), .genres = vlm_named_create()};
    vlmoe_status st = state.files && state.genres
                          ? vlm_scored_read(results, VLM_SCORED_FIELDS, &state.answers, error)
                          : vlm_fail(error, VLMOE_E_NOMEM, "no memory for NLI");
    if (!st) st = vlm_top_create(NLI_LABELS, true, &state.top, error);
    if (!st && state.answers.by_index && options->n_annotations > 1)
        st = vlm_fail(error, VLMOE_E_ARG,
                      "%s goes by row numbers, which fit one file of annotations", results);
    for (int i = 0; i < options->n_annotations && !st; i++)
        st = read_nli(&state, options->annotations[i], error);
    if (!st) st = vlm_scored_close(&state.answers, options, out, error);
    if (!st) st = put_nli(&state, out, error);
    vlm_scored_free(&state.answers);
    vlm_named_destroy(state.files);
    vlm_named_destroy(state.genres);
    vlm_top_destroy(state.top);
    return st;
}
