/* vlmoe-eval score: arguments, the table and the JSON. What a task's files are is cli_score_*.c's. */
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "cli_common.h"
#include "cli_eval.h"
#include "cli_score.h"
#include "metric_named.h"

static const char help[] =
    "usage: vlmoe-eval score --task TASK --results FILE [--annotations FILE] [OPTION...]\n"
    "\n"
    "Judge predictions, of this or any other program, by the field's own rules.\n"
    "\n"
    "  task       --results                              --annotations\n"
    "  vqa        [{\"question_id\": 1, \"answer\": \"a\"}]     VQA v2 annotations (JSON)\n"
    "  nlvr2      lines IDENTIFIER,True                  NLVR2 examples (lines of JSON)\n"
    "  nli        lines pairID,LABEL or index TAB LABEL  MNLI: .jsonl, or GLUE's .tsv\n"
    "  classify   lines NAME,CLASS,CLASS... or of JSON   folder of classes, or lines NAME CLASS\n"
    "             {\"image\": NAME, \"labels\": [...]}\n"
    "  retrieval  .npy of scores [pictures, texts]       a line a text: ROW TAB TEXT; without it\n"
    "                                                    each picture has equally many texts\n"
    "             lines of JSON: lists of the best, as   a line a caption: NAME TAB TEXT; without\n"
    "             vlmoe-eval --results writes them       it what the lists say of captions\n"
    "\n"
    "  --results FILE      once more for each seed: mean and standard deviation are shown\n"
    "  --annotations FILE  again for more files, scored together (nli: each also apart)\n"
    "  --partial           without it, a prediction missing or too many is an error; with it the\n"
    "                      missing count as wrong, and those too many are left out\n"
    "  --fold N            a matrix of retrieval: also the mean over folds of N pictures (COCO: "
    "1000)\n"
    "  --json FILE         every figure as one JSON object\n"
    "\n"
    "Figures are percentages, but for ranks. Exit codes: 0 done, 2 arguments, 3 bad input file,\n"
    "4 file system, 5 memory, 6 a score is not a number, 8 anything else.\n";

typedef vlmoe_status (*score_fn)(const vlm_score_options *options, const char *results,
                                 vlm_score_sheet *out, vlmoe_error *error);
static const struct {
    const char *name;
    score_fn run;
    bool needs_annotations;
} tasks[] = {{"vqa", vlm_score_vqa, true},
             {"nlvr2", vlm_score_nlvr2, true},
             {"nli", vlm_score_nli, true},
             {"classify", vlm_score_classify, true},
             {"retrieval", vlm_score_retrieval, false}};

/* ---- sheets ---- */

vlmoe_status vlm_score_put(vlm_score_sheet *sheet, int64_t n, double value, vlmoe_error *error,
                           const char *format, ...)
{
    vlm_text name = {0};
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (sheet->n == sheet->capacity) {
        int64_t capacity = VLM_MAX(64, 2 * sheet->capacity);
        vlm_score_row *row = vlm_alloc_array((size_t)capacity, sizeof *row);
        if (!row) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a table");
        if (sheet->n) memcpy(row, sheet->row, (size_t)sheet->n * sizeof *row);
        vlm_free(sheet->row);
        sheet->row = row;
        sheet->capacity = capacity;
    }
    vlm_text_append(&name, line, strlen(line));
    if (name.failed) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a table");
    sheet->row[sheet->n++] = (vlm_score_row){.name = name.data, .n = n, .value = value};
    return VLMOE_OK;
}

void vlm_score_sheet_free(vlm_score_sheet *sheet)
{
    for (int64_t i = 0; i < sheet->n; i++) vlm_free(sheet->row[i].name);
    vlm_free(sheet->row);
    *sheet = (vlm_score_sheet){0};
}

/* The row of this name in every sheet; false: some lack it. */
static bool gather(const vlm_score_sheet *sheet, int n_sheets, const char *name, double *value)
{
    for (int k = 0; k < n_sheets; k++) {
        int64_t i = 0;
        while (i < sheet[k].n && strcmp(sheet[k].row[i].name, name)) i++;
        if (i == sheet[k].n) return false;
        value[k] = sheet[k].row[i].value;
    }
    return true;
}

static void print_sheets(const vlm_score_options *o, const vlm_score_sheet *sheet)
{
    double value[VLM_SCORE_RESULTS];
    printf("%s", o->task);
    if (o->n_results > 1)
        printf(", %d files of predictions: mean and standard deviation", o->n_results);
    printf("\n");
    for (int64_t i = 0; i < sheet->n; i++) {
        const vlm_score_row *row = &sheet->row[i];
        if (o->n_results > 1 && !gather(sheet, o->n_results, row->name, value)) continue;
        vlm_seed_spread spread = vlm_over_seeds(value, o->n_results > 1 ? o->n_results : 0);
        printf("  %-42s %8.2f", row->name, o->n_results > 1 ? spread.mean : row->value);
        if (o->n_results > 1) printf(" +- %6.2f", spread.deviation);
        printf("   of %lld\n", (long long)row->n);
    }
    for (int k = 0; k < o->n_results; k++)
        if (*sheet[k].note) printf("  %s: %s\n", o->results[k], sheet[k].note);
}

static void put_figures(const vlm_score_sheet *sheet, vlm_text *out)
{
    for (int64_t i = 0; i < sheet->n; i++) {
        const vlm_score_row *row = &sheet->row[i];
        vlm_text_put(out, i ? ",\n    " : "\n    ");
        vlm_text_json_string(out, row->name, strlen(row->name));
        vlm_text_put(out, ": {\"value\": ");
        vlm_text_json_number(out, row->value);
        vlm_text_put(out, ", \"of\": %lld}", (long long)row->n);
    }
}

/* Mean and deviation of rows that all sheets have. */
static void put_spread(const vlm_score_options *o, const vlm_score_sheet *sheet, vlm_text *out)
{
    double value[VLM_SCORE_RESULTS];
    bool is_first = true;
    vlm_text_put(out, ",\n \"seeds\": {");
    for (int64_t i = 0; i < sheet->n; i++) {
        if (!gather(sheet, o->n_results, sheet->row[i].name, value)) continue;
        vlm_seed_spread spread = vlm_over_seeds(value, o->n_results);
        vlm_text_put(out, is_first ? "\n    " : ",\n    ");
        vlm_text_json_string(out, sheet->row[i].name, strlen(sheet->row[i].name));
        vlm_text_put(out, ": {\"mean\": ");
        vlm_text_json_number(out, spread.mean);
        vlm_cli_json_number(out, "deviation", spread.deviation);
        vlm_text_put(out, "}");
        is_first = false;
    }
    vlm_text_put(out, "}");
}

static vlmoe_status write_json(const vlm_score_options *o, const vlm_score_sheet *sheet,
                               vlmoe_error *error)
{
    vlm_text out = {0};
    vlm_text_put(&out, "{\"task\": \"%s\",\n \"files\": [", o->task);
    for (int k = 0; k < o->n_results; k++) {
        vlm_text_put(&out, k ? ",\n  {\"results\": " : "\n  {\"results\": ");
        vlm_text_json_string(&out, o->results[k], strlen(o->results[k]));
        vlm_text_put(&out, ", \"note\": ");
        vlm_text_json_string(&out, sheet[k].note, strlen(sheet[k].note));
        vlm_text_put(&out, ", \"figures\": {");
        put_figures(&sheet[k], &out);
        vlm_text_put(&out, "}}");
    }
    vlm_text_put(&out, "]");
    if (o->n_results > 1) put_spread(o, sheet, &out);
    vlm_text_put(&out, "}\n");
    vlmoe_status st = out.failed ? vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s", o->json)
                                 : vlm_file_replace(o->json, out.data, out.bytes, error);
    vlm_text_free(&out);
    return st;
}

/* ---- arguments ---- */

/* -1: go on; else the exit code */
static int parse(int argc, char **argv, vlm_score_options *o)
{
    static const struct option options[] = {{"task", required_argument, NULL, 't'},
                                            {"results", required_argument, NULL, 'r'},
                                            {"annotations", required_argument, NULL, 'a'},
                                            {"partial", no_argument, NULL, 'p'},
                                            {"fold", required_argument, NULL, 'f'},
                                            {"json", required_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case 't':
            o->task = optarg;
            break;
        case 'r':
            good = vlm_cli_add(argv[0], "--results", optarg, o->results, &o->n_results,
                               VLM_SCORE_RESULTS);
            break;
        case 'a':
            good = vlm_cli_add(argv[0], "--annotations", optarg, o->annotations, &o->n_annotations,
                               VLM_SCORE_ANNOTATIONS);
            break;
        case 'p':
            o->partial = true;
            break;
        case 'f':
            good = vlm_cli_int(argv[0], "--fold", optarg, 1, INT64_MAX, &o->fold);
            break;
        case 'j':
            o->json = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return CLI_OK;
        default:
            good = false;
        }
    }
    if (!good) return CLI_USAGE;
    if (optind < argc) return vlm_cli_usage(argv[0], "what is '%s'?", argv[optind]);
    if (!o->task || !o->n_results) return vlm_cli_usage(argv[0], "--task and --results are needed");
    return -1;
}

static int run(const char *tool, const vlm_score_options *o, score_fn score)
{
    vlm_score_sheet *sheet = vlm_alloc_array((size_t)o->n_results, sizeof *sheet);
    vlmoe_error error = {0};
    if (!sheet) return CLI_NOMEM;
    vlmoe_status st = vlm_cli_check_outputs(&o->json, 1, &error);
    for (int k = 0; k < o->n_results && !st; k++) st = score(o, o->results[k], &sheet[k], &error);
    if (!st) print_sheets(o, sheet);
    if (!st && o->json) st = write_json(o, sheet, &error);
    for (int k = 0; k < o->n_results; k++) vlm_score_sheet_free(&sheet[k]);
    vlm_free(sheet);
    return st ? vlm_cli_report(tool, &error) : CLI_OK;
}

int vlm_cli_eval_score(int argc, char **argv)
{
    vlm_score_options o = {0};
    int code = parse(argc, argv, &o);
    if (code >= 0) return code;
    for (int i = 0; i < VLM_COUNT(tasks); i++) {
        if (strcmp(o.task, tasks[i].name)) continue;
        if (tasks[i].needs_annotations && !o.n_annotations)
            return vlm_cli_usage(argv[0], "--annotations is needed");
        if (!tasks[i].needs_annotations && o.n_annotations > 1)
            return vlm_cli_usage(argv[0], "one file of --annotations, please");
        if (tasks[i].needs_annotations && o.fold)
            return vlm_cli_usage(argv[0], "--fold is for task retrieval, not %s", o.task);
        return run(argv[0], &o, tasks[i].run);
    }
    return vlm_cli_usage(argv[0], "no task '%s'; there are vqa, nlvr2, nli, classify and retrieval",
                         o.task);
}
