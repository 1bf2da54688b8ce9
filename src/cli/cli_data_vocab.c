/* vlmoe-data vocab: texts of shards and plain files to a SentencePiece model. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "cli_common.h"
#include "cli_data.h"
#include "data_spm.h"

enum { INPUTS_MAX = 256 };

typedef struct vocab_options {
    const char *in[INPUTS_MAX];
    int n_in;
    const char *out;
    int64_t size;
} vocab_options;

static const char help[] =
    "usage: vlmoe-data vocab --in DIR|FILE... --size N --out FILE.model\n"
    "\n"
    "Trains a SentencePiece unigram model of N pieces on all texts. The same texts give the same\n"
    "model.\n"
    "\n"
    "  --in DIR|FILE   a folder of shards, a .tar, or plain text with a sentence a line; give it\n"
    "                  again, or name more behind the options, to add texts\n"
    "  --size N        pieces, the special ones counted\n"
    "  --out FILE      the model; an older one is replaced when the new one is done\n";

static bool add_input(const char *tool, vocab_options *options, const char *path)
{
    return vlm_cli_add(tool, "--in", path, options->in, &options->n_in, INPUTS_MAX);
}

/* -1: go on; else the exit code */
static int parse(int argc, char **argv, vocab_options *out)
{
    static const struct option options[] = {{"in", required_argument, NULL, 'i'},
                                            {"size", required_argument, NULL, 's'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case 'i':
            good = add_input(argv[0], out, optarg);
            break;
        case 's':
            good = vlm_cli_int(argv[0], "--size", optarg, 8, 1 << 20, &out->size);
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
    for (; good && optind < argc; optind++) good = add_input(argv[0], out, argv[optind]);
    if (!good) return CLI_USAGE;
    if (!out->n_in || !out->out || !out->size)
        return vlm_cli_usage(argv[0], "--in, --size and --out are needed");
    return -1;
}

static bool is_set(const char *path)
{
    size_t n = strlen(path);
    return vlm_path_is_dir(path) || (n > 4 && !strcmp(path + n - 4, ".tar"));
}

/* A text as one line: line ends inside it become spaces. */
static void put_line(vlm_writer *writer, const vlm_bytes *text)
{
    size_t from = 0;
    for (size_t i = 0; i <= text->bytes; i++) {
        bool ends = i == text->bytes || text->data[i] == '\n' || text->data[i] == '\r';
        if (!ends) continue;
        vlm_writer_put(writer, text->data + from, i - from);
        vlm_writer_put(writer, i == text->bytes ? "\n" : " ", 1);
        from = i + 1;
    }
}

static vlmoe_status put_set(vlm_writer *writer, const char *path, vlmoe_error *error)
{
    vlm_shards *shards = NULL;
    VLM_TRY(vlm_shards_open(&path, 1, &shards, error));
    vlmoe_status st = VLMOE_OK;
    for (int64_t i = 0; i < vlm_shards_count(shards) && !st; i++) {
        vlm_sample sample;
        st = vlm_shards_get(shards, i, &sample, error);
        for (int k = 0; !st && k < sample.n_texts; k++) put_line(writer, &sample.texts[k]);
    }
    vlm_shards_close(shards);
    return st;
}

/* All texts of sets as lines of a file. */
static vlmoe_status extract(const vocab_options *options, const char *path, vlmoe_error *error)
{
    vlm_writer *writer = NULL;
    VLM_TRY(vlm_writer_open(path, &writer, error));
    vlmoe_status st = VLMOE_OK;
    for (int i = 0; i < options->n_in && !st; i++)
        if (is_set(options->in[i])) st = put_set(writer, options->in[i], error);
    if (st) {
        vlm_writer_abandon(writer);
        return st;
    }
    return vlm_writer_close(writer, error);
}

static vlmoe_status train(const vocab_options *options, const char *lines, vlmoe_error *error)
{
    const char *files[INPUTS_MAX + 1];
    int n_files = 0;
    bool has_sets = false;
    for (int i = 0; i < options->n_in; i++) {
        const char *end = strrchr(options->in[i], '.');
        if (end && !strcmp(end, ".jsonl")) /* its keys and file names would become words */
            return vlm_fail(
                error, VLMOE_E_ARG,
                "%s is a manifest: pack it and give the folder of shards, or give plain text",
                options->in[i]);
        if (is_set(options->in[i])) has_sets = true;
        else files[n_files++] = options->in[i];
    }
    if (has_sets) {
        VLM_TRY(extract(options, lines, error));
        files[n_files++] = lines;
    }
    vlmoe_status st = vlm_spm_train(files, n_files, (int)options->size, options->out, error);
    if (has_sets) remove(lines);
    return st;
}

/* What the model has, which a small corpus may keep below what was asked for. */
static int print_size(const char *tool, const char *path, int64_t wanted)
{
    vlm_spm *spm = NULL;
    vlmoe_error error = {0};
    if (vlm_spm_open(path, &spm, &error)) return vlm_cli_report(tool, &error);
    const int n = vlm_spm_special(spm).n;
    printf("%s: %d pieces", path, n);
    if (n < wanted) printf(", fewer than %lld: the texts hold no more", (long long)wanted);
    printf("\n");
    vlm_spm_close(spm);
    return vlm_cli_finish(tool, CLI_OK);
}

int vlm_cli_data_vocab(int argc, char **argv)
{
    vocab_options options = {.n_in = 0};
    int code = parse(argc, argv, &options);
    if (code >= 0) return code;
    vlmoe_error error = {0};
    char *lines = vlm_format("%s.lines", options.out); /* beside the model: there is room there */
    vlmoe_status st = lines ? train(&options, lines, &error)
                            : vlm_fail(&error, VLMOE_E_NOMEM, "no memory for a path");
    vlm_free(lines);
    if (st) return vlm_cli_report(argv[0], &error);
    return print_size(argv[0], options.out, options.size);
}
