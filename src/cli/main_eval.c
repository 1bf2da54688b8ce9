/* vlmoe-eval: arguments, order of work and exit codes of an evaluation. What is measured is
 * src/train's, how it looks cli_eval_*.c's. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "cli_common.h"
#include "cli_eval.h"
#include "train_group.h"

static const char tool[] = "vlmoe-eval";

static const char usage[] =
    "usage: vlmoe-eval (--config FILE | --checkpoint DIR) [section.key=value ...] [options]\n"
    "       vlmoe-eval embed --checkpoint DIR ...       features; see vlmoe-eval embed --help\n"
    "       vlmoe-eval score --task TASK --results FILE ...   judge a file of predictions; see\n"
    "                                                   vlmoe-eval score --help\n"
    "       vlmoe-eval predict --checkpoint DIR ...     answers about files of yours; see\n"
    "                                                   vlmoe-eval predict --help\n"
    "\n"
    "Judge a checkpoint on held-out data. Of a task: its scores. Of pretraining: losses and\n"
    "accuracies beside the best constant answer, routing of every sparse layer, and words of "
    "pairs\n"
    "predicted with the right picture, with another one and with none.\n"
    "\n"
    "  --config FILE      whose run (run.out) and held-out data (data.val_*)\n"
    "  --checkpoint DIR   a checkpoint, or a run's folder for its newest; without --config the\n"
    "                     held-out data are those of its run\n"
    "  --best             the best checkpoint, by held-out loss or a task's metric, not the "
    "newest\n"
    "  --results FILE     of a task: its predictions in the field's form, for a server or\n"
    "                     vlmoe-eval score; of retrieval the ten best of each query\n"
    "  --words R[,R..]    shares of the words of pairs to hide [1.0,0.5]; 0 = leave this out\n"
    "  --limit N          held-out samples of each stream [all]\n"
    "  --json FILE        every figure and setting as one JSON object\n"
    "  --examples FILE    a JSON line per pair and rate: its text and what was predicted\n"
    "\n"
    "Model and numbers are the checkpoint's; a setting changes them for this evaluation.\n"
    "Exit codes: 0 done, 2 arguments or config, 3 bad input file, 4 file system, 5 memory, 6 not\n"
    "finite, 8 anything else.\n";

typedef struct options {
    vlm_cli_model_options model;
    int n_rates;
    double rate[VLM_CLI_MAX_RATES];
    bool has_rates; /* given, not the standard ones */
    const char *json, *examples, *results;
} options;

/* ---- work ---- */

static bool can_hide_words(const vlmoe_trainer *t)
{
    return t->model && t->spm && vlm_source_samples(t->val, 2) > 0;
}

static vlmoe_status measure(vlm_cli_evaluation *e, const options *o)
{
    vlmoe_trainer *t = e->model.trainer;
    if (!t->val)
        return vlm_fail(&t->error, VLMOE_E_ARG,
                        "no held-out data: set data.val_images, data.val_texts or data.val_pairs "
                        "to folders of shards");
    if (o->examples && (t->head || !can_hide_words(t) || !o->n_rates))
        return vlm_fail(
            &t->error, VLMOE_E_ARG,
            "--examples shows hidden words: it needs a pretrained model, data.val_pairs "
            "and a share above 0 in --words");
    if (t->head) {
        e->baseline.samples[t->task->stream] = vlm_source_held_out(t->val, t->task->stream);
        if (o->has_rates && o->n_rates)
            return vlm_fail(&t->error, VLMOE_E_ARG,
                            "--words is for pretrained models, this is a "
                            "checkpoint of task %s",
                            t->task->name);
        if (o->results && t->task->kind == VLM_TASK_RETRIEVAL) e->tally.n_ranked = VLM_CLI_RANKED;
        return vlm_trainer_evaluate(t, &e->report, &e->tally);
    }
    VLM_TRY(vlm_baseline_measure(t, &e->baseline));
    VLM_TRY(vlm_trainer_evaluate(t, &e->report, &e->tally));
    if (!can_hide_words(t))
        return o->has_rates && o->n_rates
                   ? vlm_fail(&t->error, VLMOE_E_ARG,
                              "--words needs a pretrained model and data.val_pairs")
                   : VLMOE_OK;
    for (int i = 0; i < o->n_rates; i++)
        VLM_TRY(vlm_cli_words_run(e, o->rate[i], o->examples != NULL));
    return VLMOE_OK;
}

static vlmoe_status write_text(const char *path, vlm_text *text, vlmoe_error *error)
{
    vlmoe_status st =
        text->failed ? vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s", path)
                     : vlm_file_replace(path, text->data ? text->data : "", text->bytes, error);
    vlm_text_free(text);
    return st;
}

static vlmoe_status write_results(vlm_cli_evaluation *e, const char *path)
{
    vlm_text text = {0};
    vlmoe_status st = vlm_cli_results(e, &text);
    if (!st) return write_text(path, &text, &e->model.trainer->error);
    vlm_text_free(&text);
    return st;
}

static vlmoe_status write_examples(vlm_cli_evaluation *e, const char *path)
{
    vlm_text text = {0};
    vlmoe_status st = VLMOE_OK;
    for (int i = 0; i < e->n_words && !st; i++) st = vlm_cli_words_examples(e, &e->words[i], &text);
    if (!st) return write_text(path, &text, &e->model.trainer->error);
    vlm_text_free(&text);
    return st;
}

static vlmoe_status write_files(vlm_cli_evaluation *e, const options *o)
{
    vlm_text json = {0};
    if (o->json) {
        vlm_cli_eval_json(e, &json);
        VLM_TRY(write_text(o->json, &json, &e->model.trainer->error));
    }
    if (o->results) VLM_TRY(write_results(e, o->results));
    return o->examples ? write_examples(e, o->examples) : VLMOE_OK;
}

static int evaluate(const options *o)
{
    vlm_cli_evaluation *e = vlm_alloc(sizeof *e);
    vlmoe_error error = {VLMOE_OK, ""};
    if (!e) return CLI_NOMEM;
    e->limit = o->model.limit;
    e->report.struct_size = sizeof e->report;
    const char *const outputs[] = {o->json, o->results, o->examples};
    vlmoe_status st = vlm_cli_check_outputs(outputs, VLM_COUNT(outputs), &error);
    if (!st) st = vlm_cli_model_open(tool, &o->model, &e->model, &error);
    if (!st) st = measure(e, o);
    if (!st) {
        vlm_cli_eval_print(e);
        st = write_files(e, o);
    }
    if (st && !error.status) vlm_fail(&error, st, "%s", vlmoe_trainer_error(e->model.trainer));
    for (int i = 0; i < e->n_words; i++) vlm_words_free(&e->words[i].result);
    vlm_tally_free(&e->tally);
    vlm_cli_model_close(&e->model);
    vlm_free(e);
    return st ? vlm_cli_report(tool, &error) : vlm_cli_finish(tool, CLI_OK);
}

/* ---- arguments ---- */

static bool read_rates(const char *text, options *o)
{
    char *copy = vlm_strdup(text), *rest = copy, *part;
    bool is_good = copy != NULL;
    o->has_rates = true;
    o->n_rates = 0;
    while (is_good && (part = strsep(&rest, ","))) {
        is_good = o->n_rates < VLM_CLI_MAX_RATES &&
                  vlm_cli_double(tool, "--words", part, 0.0, 1.0, &o->rate[o->n_rates]);
        if (is_good && o->rate[o->n_rates] > 0.0) o->n_rates++;
    }
    vlm_free(copy);
    return is_good;
}

enum {
    OPT_CONFIG = 256,
    OPT_CHECKPOINT,
    OPT_BEST,
    OPT_WORDS,
    OPT_LIMIT,
    OPT_JSON,
    OPT_EXAMPLES,
    OPT_RESULTS
};
static const struct option long_options[] = {
    {"config", required_argument, NULL, OPT_CONFIG},
    {"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
    {"best", no_argument, NULL, OPT_BEST},
    {"words", required_argument, NULL, OPT_WORDS},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"json", required_argument, NULL, OPT_JSON},
    {"examples", required_argument, NULL, OPT_EXAMPLES},
    {"results", required_argument, NULL, OPT_RESULTS},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0}};

/* -1 = go on; else the exit code. */
static int read_option(int code, options *o)
{
    switch (code) {
    case OPT_CONFIG:
        o->model.config = optarg;
        return -1;
    case OPT_CHECKPOINT:
        o->model.checkpoint = optarg;
        return -1;
    case OPT_BEST:
        o->model.best = true;
        return -1;
    case OPT_JSON:
        o->json = optarg;
        return -1;
    case OPT_EXAMPLES:
        o->examples = optarg;
        return -1;
    case OPT_RESULTS:
        o->results = optarg;
        return -1;
    case OPT_WORDS:
        return read_rates(optarg, o) ? -1 : CLI_USAGE;
    case OPT_LIMIT:
        return vlm_cli_int(tool, "--limit", optarg, 1, 1000000000, &o->model.limit) ? -1
                                                                                    : CLI_USAGE;
    case 'h':
        fputs(usage, stdout);
        return vlm_cli_finish(tool, CLI_OK);
    case 'V':
        printf("%s %d.%d.%d\n", tool, VLMOE_VERSION_MAJOR, VLMOE_VERSION_MINOR,
               VLMOE_VERSION_PATCH);
        return vlm_cli_finish(tool, CLI_OK);
    default:
        return vlm_cli_usage(tool, "see the message above");
    }
}

int main(int argc, char **argv)
{
    options o = {.n_rates = 2, .rate = {1.0, 0.5}};
    if (argc > 1 && !strcmp(argv[1], "embed")) {
        static char name[] = "vlmoe-eval embed";
        argv[1] = name;
        return vlm_cli_finish(name, vlm_cli_eval_embed(argc - 1, argv + 1));
    }
    if (argc > 1 && !strcmp(argv[1], "predict")) {
        static char name[] = "vlmoe-eval predict";
        argv[1] = name;
        return vlm_cli_finish(name, vlm_cli_eval_predict(argc - 1, argv + 1));
    }
    if (argc > 1 && !strcmp(argv[1], "score")) {
        static char name[] = "vlmoe-eval score";
        argv[1] = name;
        return vlm_cli_finish(name, vlm_cli_eval_score(argc - 1, argv + 1));
    }
    for (int code; (code = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        int end = read_option(code, &o);
        if (end >= 0) return end;
    }
    if (!vlm_cli_settings(tool, argc, argv, optind, &o.model)) return CLI_USAGE;
    if (!o.model.config && !o.model.checkpoint)
        return vlm_cli_usage(tool, "--config FILE or --checkpoint DIR is missing");
    return evaluate(&o);
}
