/* vlmoe-data answers: annotation files of VQA to the file of classes. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "cli_common.h"
#include "cli_data.h"
#include "data_answers.h"

enum { FILES_MAX = 64 };

typedef struct answers_options {
    const char *files[FILES_MAX];
    int n_files;
    const char *out;
    int64_t min_count;
} answers_options;

static const char help[] =
    "usage: vlmoe-data answers --annotations FILE[,FILE...] --out ANSWERS.txt [--min-count N]\n"
    "\n"
    "Writes the classes of VQA, one a line: the normalised multiple_choice_answer of annotations\n"
    "in VQAv2's format, those that at least N annotations have, in the order of first appearance.\n"
    "With VQAv2's train and val and N = 9 these are the 3,129 classes that others train on.\n"
    "\n"
    "  --annotations FILE  annotation files in order; give it again, or commas between, for more\n"
    "  --min-count N       annotations an answer must have [9]\n"
    "  --out FILE          replaced when all is counted\n";

/* Cuts at commas, in place. */
static bool add_files(const char *tool, char *text, answers_options *out)
{
    for (char *at = text; at;) {
        if (!vlm_cli_add(tool, "--annotations", at, out->files, &out->n_files, FILES_MAX))
            return false;
        at = strchr(at, ',');
        if (at) *at++ = 0;
    }
    return true;
}

/* -1: go on; else the exit code */
static int parse(int argc, char **argv, answers_options *out)
{
    static const struct option options[] = {{"annotations", required_argument, NULL, 'a'},
                                            {"min-count", required_argument, NULL, 'm'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case 'a':
            good = add_files(argv[0], optarg, out);
            break;
        case 'm':
            good = vlm_cli_int(argv[0], "--min-count", optarg, 1, INT64_MAX, &out->min_count);
            break;
        case 'o':
            out->out = optarg;
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
    if (!out->n_files || !out->out)
        return vlm_cli_usage(argv[0], "--annotations and --out are needed");
    return -1;
}

static vlmoe_status count(const answers_options *options, vlm_answers *answers, vlmoe_error *error)
{
    int64_t n = 0, n_covered = 0;
    for (int i = 0; i < options->n_files; i++)
        VLM_TRY(vlm_answers_read(answers, options->files[i], error));
    VLM_TRY(vlm_answers_write(answers, options->min_count, options->out, &n, &n_covered, error));
    printf("%s: %lld classes, the answers of %lld in %lld annotations (%.2f %%); %lld answers are "
           "rarer than %lld",
           options->out, (long long)n, (long long)n_covered, (long long)answers->n_annotations,
           100.0 * (double)n_covered / (double)answers->n_annotations, (long long)(answers->n - n),
           (long long)options->min_count);
    if (answers->n_empty) printf("; %lld are empty", (long long)answers->n_empty);
    printf("\n");
    return VLMOE_OK;
}

int vlm_cli_data_answers(int argc, char **argv)
{
    answers_options options = {.min_count = 9};
    int code = parse(argc, argv, &options);
    if (code >= 0) return code;
    vlm_answers answers = {0};
    vlmoe_error error = {0};
    vlmoe_status st = count(&options, &answers, &error);
    vlm_answers_free(&answers);
    return st ? vlm_cli_report(argv[0], &error) : CLI_OK;
}
