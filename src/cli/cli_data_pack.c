/* vlmoe-data pack: its options, and lists of pictures and texts to shards. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "cli_common.h"
#include "cli_data.h"
#include "cli_data_pack.h"
#include "cli_manifest.h"

typedef struct pack_counts {
    int64_t n_pairs, n_images, n_texts, n_bad;
} pack_counts;

static const char help[] =
    "usage: vlmoe-data pack --in FILE --out DIR [--format FORMAT] [OPTION...]\n"
    "\n"
    "Writes shards (WebDataset tars with an index beside each) to DIR. Pictures are stored as\n"
    "they are, after each was decoded once. On failure DIR is left without shards.\n"
    "\n"
    "  --in FILE          what is read; see the formats\n"
    "  --out DIR          folder for the shards; it must hold no tar yet\n"
    "  --images ROOT      folder of relative image paths [the folder of FILE]\n"
    "  --shard-size MIB   size to close a shard at [256]\n"
    "  --skip N           pass over the first N rows; with --limit, a set in two parts\n"
    "  --limit N          take the first N good samples only\n"
    "  --max-pixels N     refuse larger pictures [67108864]\n"
    "  --missing error    the first bad row ends the work: this is so unless it is said otherwise\n"
    "  --missing skip     bad rows are counted, named and left out; --skip-bad is the same\n"
    "\n"
    "Without --format FILE is a list: lines of JSON if it ends in .jsonl or .json, with any of\n"
    "\"image\": PATH, \"text\" or \"caption\": \"...\", \"texts\" or \"captions\": [\"...\", "
    "...];\n"
    "a row with other fields is kept whole beside the sample. Otherwise plain text, one sample a\n"
    "line. Blank lines are passed over. A line is bad when its picture is missing or damaged, a\n"
    "text is empty or not UTF-8, or the line is not as above.\n"
    "\n"
    "Labelled sets (DIR/labels.txt names the classes; pictures that rows share lie in "
    "DIR/pictures):\n"
    "  vqav2      --in QUESTIONS [--annotations FILE] --labels ANSWERS (of vlmoe-data answers)\n"
    "             [--split NAME] [--picture-name COCO_{split}_{id:12}]\n"
    "  nlvr2      --in LINES; pictures in ROOT/SPLIT/[DIRECTORY/], ROOT/images/... or ROOT\n"
    "  karpathy   --in JSON --split train,restval; pictures in ROOT/FILEPATH or ROOT\n"
    "  imagenet   --in FOLDER of a folder for each class [--labels FILE]\n"
    "  mnli, glue --in LINES or TABLE [--split NAME, else matched or mismatched by FILE]\n"
    "  beit3      --in INDEX --text-model MODEL [--labels FILE, or answer2label.txt]\n"
    "  idx        --in IMAGES --annotations LABELS [--labels FILE], gzip or not\n"
    "  --dry-run  write nothing, count everything; pictures are looked for if --images is given\n";

static bool take_missing(const char *tool, const char *text, vlm_cli_pack *out)
{
    out->skips = !strcmp(text, "skip");
    if (out->skips || !strcmp(text, "error")) return true;
    vlm_cli_usage(tool, "--missing is '%s', expected error or skip", text);
    return false;
}

/* One option; false = it was complained about. */
static bool take(const char *tool, int c, vlm_cli_pack *out)
{
    switch (c) {
    case 'i':
        out->rows.in = optarg;
        return true;
    case 'o':
        out->out = optarg;
        return true;
    case 'f':
        out->rows.format = optarg;
        return true;
    case 'a':
        out->rows.annotations = optarg;
        return true;
    case 'c':
        out->rows.labels = optarg;
        return true;
    case 'r':
        out->rows.images = optarg;
        return true;
    case 't':
        out->rows.split = optarg;
        return true;
    case 'n':
        out->rows.picture = optarg;
        return true;
    case 'm':
        out->rows.text_model = optarg;
        return true;
    case 'e':
        return take_missing(tool, optarg, out);
    case 'b':
        out->skips = true;
        return true;
    case 'd':
        out->is_dry = true;
        return true;
    case 's':
        return vlm_cli_int(tool, "--shard-size", optarg, 1, 1 << 20, &out->shard_mib);
    case 'k':
        return vlm_cli_int(tool, "--skip", optarg, 0, INT64_MAX, &out->skip);
    case 'l':
        return vlm_cli_int(tool, "--limit", optarg, 1, INT64_MAX, &out->limit);
    case 'p':
        return vlm_cli_int(tool, "--max-pixels", optarg, 1, VLM_IMAGE_PIXELS_MAX, &out->max_pixels);
    default:
        return false;
    }
}

static int check(const char *tool, const vlm_cli_pack *options)
{
    const vlm_rows_options *rows = &options->rows;
    if (!rows->in || (!options->out && !options->is_dry))
        return vlm_cli_usage(tool, "--in and --out are needed");
    if (rows->format) return -1;
    if (options->is_dry || rows->annotations || rows->labels || rows->split || rows->picture ||
        rows->text_model)
        return vlm_cli_usage(tool, "that option is for labelled sets: --format is needed");
    return -1;
}

/* -1: go on; else the exit code */
static int parse(int argc, char **argv, vlm_cli_pack *out)
{
    static const struct option options[] = {{"in", required_argument, NULL, 'i'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"format", required_argument, NULL, 'f'},
                                            {"annotations", required_argument, NULL, 'a'},
                                            {"labels", required_argument, NULL, 'c'},
                                            {"images", required_argument, NULL, 'r'},
                                            {"split", required_argument, NULL, 't'},
                                            {"picture-name", required_argument, NULL, 'n'},
                                            {"text-model", required_argument, NULL, 'm'},
                                            {"missing", required_argument, NULL, 'e'},
                                            {"skip-bad", no_argument, NULL, 'b'},
                                            {"dry-run", no_argument, NULL, 'd'},
                                            {"shard-size", required_argument, NULL, 's'},
                                            {"skip", required_argument, NULL, 'k'},
                                            {"limit", required_argument, NULL, 'l'},
                                            {"max-pixels", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_OK;
        }
        good = take(argv[0], c, out);
    }
    if (!good) return CLI_USAGE;
    if (optind < argc) return vlm_cli_usage(argv[0], "what is '%s'?", argv[optind]);
    return check(argv[0], out);
}

static void count(pack_counts *counts, const vlm_sample *sample)
{
    if (sample->image.data && sample->n_texts) counts->n_pairs++;
    else if (sample->image.data) counts->n_images++;
    else counts->n_texts++;
}

/* All lines through the writer. A bad line under --skip-bad is printed, and no failure. */
static vlmoe_status copy_samples(const char *tool, const vlm_cli_pack *options,
                                 vlm_manifest *manifest, vlm_shard_writer *writer,
                                 pack_counts *counts, vlmoe_error *error)
{
    for (int64_t row = 0; vlm_shard_writer_count(writer) < options->limit; row++) {
        vlm_sample sample;
        if (!vlm_manifest_next(manifest)) break;
        if (row < options->skip) continue;
        vlmoe_status st = vlm_manifest_sample(manifest, &sample, error);
        if (st && options->skips && st != VLMOE_E_NOMEM) {
            fprintf(stderr, "%s: skipped: %s\n", tool, error->text);
            *error = (vlmoe_error){0};
            counts->n_bad++;
            continue;
        }
        if (st) return st;
        VLM_TRY(vlm_shard_writer_put(writer, &sample, error));
        count(counts, &sample);
    }
    if (vlm_shard_writer_count(writer)) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s: no samples in it", manifest->path);
}

static vlmoe_status pack(const char *tool, const vlm_cli_pack *options, pack_counts *counts,
                         vlmoe_error *error)
{
    vlm_shard_options shards = VLM_SHARD_OPTIONS_INIT;
    vlm_manifest manifest = {.path = options->rows.in, .image_root = options->rows.images};
    vlm_shard_writer *writer = NULL;
    manifest.limits = (vlm_image_options)VLM_IMAGE_OPTIONS_INIT;
    manifest.limits.max_pixels = options->max_pixels;
    shards.shard_bytes = (uint64_t)options->shard_mib << 20;
    vlmoe_status st = vlm_manifest_open(&manifest, error);
    if (!st) st = vlm_shard_writer_open(options->out, &shards, &writer, error);
    if (!st) st = copy_samples(tool, options, &manifest, writer, counts, error);
    if (st) vlm_shard_writer_abandon(writer);
    else st = vlm_shard_writer_close(writer, error);
    vlm_manifest_close(&manifest);
    return st;
}

int vlm_cli_data_pack(int argc, char **argv)
{
    vlm_cli_pack options = {.shard_mib = 256, .limit = INT64_MAX};
    options.max_pixels = VLM_IMAGE_PIXELS_DEFAULT;
    int code = parse(argc, argv, &options);
    if (code >= 0) return code;
    if (options.rows.format) return vlm_cli_data_pack_set(argv[0], &options);
    pack_counts counts = {0};
    vlmoe_error error = {0};
    if (pack(argv[0], &options, &counts, &error)) return vlm_cli_report(argv[0], &error);
    printf("%lld samples in %s: %lld pairs, %lld pictures alone, %lld texts alone; %lld skipped\n",
           (long long)(counts.n_pairs + counts.n_images + counts.n_texts), options.out,
           (long long)counts.n_pairs, (long long)counts.n_images, (long long)counts.n_texts,
           (long long)counts.n_bad);
    return CLI_OK;
}
