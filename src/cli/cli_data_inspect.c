/* vlmoe-data inspect: what is in a set. Reads picture headers, no pixels. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "cli_common.h"
#include "cli_data.h"
#include "data_image.h"

/* Smallest, mean and largest of what was added. */
typedef struct range {
    int64_t n, low, high;
    double sum;
} range;

typedef struct totals {
    int64_t n_pairs, n_images, n_texts, n_nothing, n_json, n_bad;
    int64_t n_kind[VLM_IMAGE_KINDS];
    range width, height, image_bytes, text_bytes, texts_per_sample;
} totals;

static const char help[] =
    "usage: vlmoe-data inspect [--first N] DIR|FILE.tar\n"
    "\n"
    "Counts and sizes of a set of shards, and its first samples. Pictures are judged by their\n"
    "headers; 'verify' decodes them.\n"
    "\n"
    "  --first N   samples to print [3]\n";

vlm_shards *vlm_cli_data_open(const char *tool, const char *path, int *code)
{
    vlm_shards *shards = NULL;
    vlmoe_error error = {0};
    if (vlm_shards_open(&path, 1, &shards, &error)) *code = vlm_cli_report(tool, &error);
    return shards;
}

static void add(range *r, int64_t value)
{
    r->low = r->n ? VLM_MIN(r->low, value) : value;
    r->high = r->n ? VLM_MAX(r->high, value) : value;
    r->sum += (double)value;
    r->n++;
}

static void print_range(const char *name, const range *r, const char *unit)
{
    if (r->n)
        printf("  %-18s %lld .. %lld, mean %.1f %s\n", name, (long long)r->low, (long long)r->high,
               r->sum / (double)r->n, unit);
}

static void add_picture(totals *t, const vlm_bytes *image)
{
    int64_t width = 0, height = 0;
    if (!image->data) return;
    t->n_kind[vlm_image_sniff(image->data, image->bytes)]++;
    add(&t->image_bytes, (int64_t)image->bytes);
    if (vlm_image_probe(image->data, image->bytes, &width, &height, NULL)) {
        t->n_bad++;
        return;
    }
    add(&t->width, width);
    add(&t->height, height);
}

static void add_sample(totals *t, const vlm_sample *sample)
{
    if (sample->image.data && sample->n_texts) t->n_pairs++;
    else if (sample->image.data) t->n_images++;
    else if (sample->n_texts) t->n_texts++;
    else t->n_nothing++;
    if (sample->json.data) t->n_json++;
    if (sample->n_texts) add(&t->texts_per_sample, sample->n_texts);
    for (int i = 0; i < sample->n_texts; i++) add(&t->text_bytes, (int64_t)sample->texts[i].bytes);
    add_picture(t, &sample->image);
    add_picture(t, &sample->image2);
}

/* Text as one line of at most 100 bytes; control bytes, which could move a terminal, as dots. */
static void print_text(const vlm_bytes *text)
{
    enum { SHOWN = 100 };
    size_t n = VLM_MIN(text->bytes, SHOWN);
    while (n < text->bytes && n > 0 && (text->data[n] & 0xc0) == 0x80) n--; /* whole letters */
    printf("    text: ");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = text->data[i];
        putchar(c < ' ' || c == 127 ? '.' : c);
    }
    printf("%s\n", n < text->bytes ? " ..." : "");
}

static void print_picture(const vlm_bytes *image)
{
    int64_t width = 0, height = 0;
    if (!image->data) return;
    vlm_image_probe(image->data, image->bytes, &width, &height, NULL); /* 0 x 0: unreadable */
    printf("    picture: %s, %lld x %lld, %zu bytes\n",
           vlm_image_kind_name(vlm_image_sniff(image->data, image->bytes)), (long long)width,
           (long long)height, image->bytes);
}

static void print_sample(int64_t i, const vlm_sample *sample)
{
    printf("  sample %lld \"%s\" at byte %llu\n", (long long)i, sample->key,
           (unsigned long long)sample->offset);
    print_picture(&sample->image);
    print_picture(&sample->image2);
    for (int k = 0; k < sample->n_texts; k++) print_text(&sample->texts[k]);
    if (sample->json.data) printf("    json: %zu bytes\n", sample->json.bytes);
}

static void print_files(const vlm_shards *shards)
{
    uint64_t bytes = 0;
    int64_t n_indexed = 0, n = vlm_shards_n_files(shards);
    for (int64_t i = 0; i < n; i++) {
        vlm_shard_info info = vlm_shards_file(shards, i);
        bytes += info.bytes;
        n_indexed += info.has_index;
    }
    printf("%lld samples in %lld shards (%lld with an index), %.1f MiB, set %016llx\n",
           (long long)vlm_shards_count(shards), (long long)n, (long long)n_indexed,
           (double)bytes / (1 << 20), (unsigned long long)vlm_shards_id(shards));
}

static void print_totals(const totals *t)
{
    printf("  pairs %lld, pictures alone %lld, texts alone %lld, neither %lld, with json %lld\n",
           (long long)t->n_pairs, (long long)t->n_images, (long long)t->n_texts,
           (long long)t->n_nothing, (long long)t->n_json);
    for (int kind = 0; kind < VLM_IMAGE_KINDS; kind++)
        if (t->n_kind[kind])
            printf("  %-18s %lld\n", vlm_image_kind_name((vlm_image_kind)kind),
                   (long long)t->n_kind[kind]);
    if (t->n_bad) printf("  %-18s %lld\n", "unreadable headers", (long long)t->n_bad);
    print_range("width", &t->width, "pixels");
    print_range("height", &t->height, "pixels");
    print_range("picture file", &t->image_bytes, "bytes");
    print_range("text", &t->text_bytes, "bytes");
    print_range("texts a sample", &t->texts_per_sample, "");
}

static int inspect(const char *tool, const vlm_shards *shards, int64_t n_first)
{
    totals t = {0};
    vlm_sample sample;
    vlmoe_error error = {0};
    int64_t n = vlm_shards_count(shards);
    for (int64_t i = 0; i < n; i++) {
        if (vlm_shards_get(shards, i, &sample, &error)) return vlm_cli_report(tool, &error);
        add_sample(&t, &sample);
    }
    print_files(shards);
    print_totals(&t);
    for (int64_t i = 0; i < VLM_MIN(n, n_first); i++) {
        if (vlm_shards_get(shards, i, &sample, &error)) return vlm_cli_report(tool, &error);
        print_sample(i, &sample);
    }
    return CLI_OK;
}

int vlm_cli_data_inspect(int argc, char **argv)
{
    static const struct option options[] = {{"first", required_argument, NULL, 'n'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int64_t n_first = 3;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (c != 'n' || !vlm_cli_int(argv[0], "--first", optarg, 0, INT64_MAX, &n_first))
            return CLI_USAGE;
    }
    if (optind + 1 != argc) return vlm_cli_usage(argv[0], "one folder or tar is needed");
    int code = CLI_OK;
    vlm_shards *shards = vlm_cli_data_open(argv[0], argv[optind], &code);
    if (!shards) return code;
    code = inspect(argv[0], shards, n_first);
    vlm_shards_close(shards);
    return code;
}
