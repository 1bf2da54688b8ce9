/* vlmoe-data pack: a manifest to shards. */
#include <getopt.h>
#include <stdio.h>
#include "cli_common.h"
#include "cli_data.h"
#include "cli_manifest.h"

typedef struct pack_options {
    const char *in, *out, *images;
    int64_t shard_mib, limit, max_pixels;
    bool skip_bad;
} pack_options;

typedef struct pack_counts {
    int64_t n_pairs, n_images, n_texts, n_bad;
} pack_counts;

static const char help[] =
    "usage: vlmoe-data pack --in FILE --out DIR [OPTION...]\n"
    "\n"
    "Writes shards (WebDataset tars with an index beside each) to DIR. Pictures are stored as\n"
    "they are, after each was decoded once.\n"
    "\n"
    "  --in FILE         lines of JSON if FILE ends in .jsonl: \"image\": PATH, \"text\" or\n"
    "                    \"caption\": \"...\", \"texts\" or \"captions\": [\"...\", ...], any of "
    "them;\n"
    "                    a row with other fields is kept whole beside the sample.\n"
    "                    Otherwise plain text, one sample a line. Blank lines are passed over.\n"
    "  --out DIR         folder for the shards; it must hold no tar yet\n"
    "  --images ROOT     folder of relative image paths [the folder of FILE]\n"
    "  --shard-size MIB  size to close a shard at [256]\n"
    "  --limit N         take the first N good samples only\n"
    "  --max-pixels N    refuse larger pictures [67108864]\n"
    "  --skip-bad        name bad lines and go on; without it the first one ends the work\n"
    "\n"
    "A line is bad when its picture is missing or damaged, a text is empty or not UTF-8, or the\n"
    "line is not as above. On failure DIR is left without shards.\n";

/* -1: go on; else the exit code */
static int parse(int argc, char **argv, pack_options *out)
{
    static const struct option options[] = {{"in", required_argument, NULL, 'i'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"images", required_argument, NULL, 'r'},
                                            {"shard-size", required_argument, NULL, 's'},
                                            {"limit", required_argument, NULL, 'l'},
                                            {"max-pixels", required_argument, NULL, 'p'},
                                            {"skip-bad", no_argument, NULL, 'b'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (c) {
        case 'i':
            out->in = optarg;
            break;
        case 'o':
            out->out = optarg;
            break;
        case 'r':
            out->images = optarg;
            break;
        case 'b':
            out->skip_bad = true;
            break;
        case 's':
            good = vlm_cli_int(argv[0], "--shard-size", optarg, 1, 1 << 20, &out->shard_mib);
            break;
        case 'l':
            good = vlm_cli_int(argv[0], "--limit", optarg, 1, INT64_MAX, &out->limit);
            break;
        case 'p':
            good = vlm_cli_int(argv[0], "--max-pixels", optarg, 1, VLM_IMAGE_PIXELS_MAX,
                               &out->max_pixels);
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
    if (!out->in || !out->out) return vlm_cli_usage(argv[0], "--in and --out are needed");
    return -1;
}

static void count(pack_counts *counts, const vlm_sample *sample)
{
    if (sample->image.data && sample->n_texts) counts->n_pairs++;
    else if (sample->image.data) counts->n_images++;
    else counts->n_texts++;
}

/* All lines through the writer. A bad line under --skip-bad is printed, and no failure. */
static vlmoe_status copy_samples(const char *tool, const pack_options *options,
                                 vlm_manifest *manifest, vlm_shard_writer *writer,
                                 pack_counts *counts, vlmoe_error *error)
{
    while (vlm_shard_writer_count(writer) < options->limit && vlm_manifest_next(manifest)) {
        vlm_sample sample;
        vlmoe_status st = vlm_manifest_sample(manifest, &sample, error);
        if (st && options->skip_bad && st != VLMOE_E_NOMEM) {
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

static vlmoe_status pack(const char *tool, const pack_options *options, pack_counts *counts,
                         vlmoe_error *error)
{
    vlm_shard_options shards = VLM_SHARD_OPTIONS_INIT;
    vlm_manifest manifest = {.path = options->in, .image_root = options->images};
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
    pack_options options = {.shard_mib = 256, .limit = INT64_MAX};
    options.max_pixels = VLM_IMAGE_PIXELS_DEFAULT;
    int code = parse(argc, argv, &options);
    if (code >= 0) return code;
    pack_counts counts = {0};
    vlmoe_error error = {0};
    if (pack(argv[0], &options, &counts, &error)) return vlm_cli_report(argv[0], &error);
    printf("%lld samples in %s: %lld pairs, %lld pictures alone, %lld texts alone; %lld skipped\n",
           (long long)(counts.n_pairs + counts.n_images + counts.n_texts), options.out,
           (long long)counts.n_pairs, (long long)counts.n_images, (long long)counts.n_texts,
           (long long)counts.n_bad);
    return CLI_OK;
}
