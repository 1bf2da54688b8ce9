/* vlmoe-data verify: reads every byte of a set. */
#include <getopt.h>
#include <stdio.h>
#include "base_file.h"
#include "base_json.h"
#include "cli_common.h"
#include "cli_data.h"
#include "data_image.h"
#include "data_label.h"

static const char help[] =
    "usage: vlmoe-data verify [--max-pixels N] DIR|FILE.tar\n"
    "\n"
    "Compares each shard with the checksum in its index, decodes every picture, and looks at all\n"
    "texts (UTF-8) and json members. Labels must be classes of the folder's labels.txt, and "
    "numbers\n"
    "of pictures lie in its folder pictures/, which is looked at too. Each fault is printed on a\n"
    "line of its own; the exit code is 3 if there was any.\n"
    "\n"
    "  --max-pixels N   larger pictures are faults [67108864]\n";

/* What samples are held against, and what was found. */
typedef struct check {
    vlm_image_options limits;
    vlm_classes classes; /* n = 0: there is no labels.txt */
    int64_t n_pictures;  /* in pictures/ */
    int64_t n_faults, n_labelled;
} check;

static vlmoe_status check_text(const vlm_bytes *text, vlmoe_error *error)
{
    for (size_t at = 0; at < text->bytes;) {
        size_t n = vlm_utf8_length((const char *)text->data + at, text->bytes - at);
        if (!n) return vlm_fail(error, VLMOE_E_FORMAT, "text is not UTF-8 at its byte %zu", at);
        at += n;
    }
    return VLMOE_OK;
}

/* Labels and numbers of pictures; plain sets may have a json of their own making. */
static vlmoe_status check_facts(check *c, const vlm_sample *sample, vlmoe_error *error)
{
    vlm_sample_facts facts;
    if (!c->classes.n && !c->n_pictures) return VLMOE_OK;
    VLM_TRY(vlm_sample_facts_read(sample->json, c->classes.n, &facts, error));
    c->n_labelled += facts.n_labels > 0;
    for (int i = 0; i < facts.n_pictures && !sample->image.data; i++)
        if (facts.picture[i] >= c->n_pictures)
            return vlm_fail(error, VLMOE_E_FORMAT,
                            "its json names picture %lld, but pictures/ holds %lld",
                            (long long)facts.picture[i], (long long)c->n_pictures);
    return VLMOE_OK;
}

static vlmoe_status check_sample(check *c, const vlm_sample *sample, vlmoe_error *error)
{
    if (!sample->image.data && !sample->n_texts && !sample->json.data)
        return vlm_fail(error, VLMOE_E_FORMAT, "neither picture nor text");
    for (int i = 0; i < sample->n_texts; i++) VLM_TRY(check_text(&sample->texts[i], error));
    if (sample->json.data) {
        vlm_json *doc = NULL;
        VLM_TRY(vlm_json_parse((const char *)sample->json.data, sample->json.bytes, "json", false,
                               &doc, error));
        vlm_json_free(doc);
    }
    VLM_TRY(check_facts(c, sample, error));
    const vlm_bytes *const images[] = {&sample->image, &sample->image2};
    for (int i = 0; i < VLM_COUNT(images); i++) {
        vlm_image image = {0};
        if (!images[i]->data) continue;
        VLM_TRY(vlm_image_decode(images[i]->data, images[i]->bytes, &c->limits, &image, error));
        vlm_image_free(&image);
    }
    return VLMOE_OK;
}

/* One sample, its fault printed; only a lack of memory is no fault of the data. */
static vlmoe_status verify_sample(check *c, const vlm_shards *shards, int64_t i, vlmoe_error *error)
{
    vlm_sample sample;
    vlmoe_error fault = {0};
    vlmoe_status st = vlm_shards_get(shards, i, &sample, &fault);
    if (!st) {
        st = check_sample(c, &sample, &fault);
        if (st)
            vlm_fail_in(&fault, "%s: sample \"%s\" at byte %llu", sample.shard, sample.key,
                        (unsigned long long)sample.offset);
    }
    if (st == VLMOE_E_NOMEM) {
        *error = fault;
        return st;
    }
    if (st) {
        printf("%s\n", fault.text);
        c->n_faults++;
    }
    return VLMOE_OK;
}

static vlmoe_status verify(check *c, const vlm_shards *shards, vlmoe_error *error)
{
    for (int64_t i = 0; i < vlm_shards_n_files(shards); i++) {
        vlmoe_error fault = {0};
        if (!vlm_shards_rehash(shards, i, &fault)) continue;
        printf("%s\n", fault.text);
        c->n_faults++;
    }
    for (int64_t i = 0; i < vlm_shards_count(shards); i++)
        VLM_TRY(verify_sample(c, shards, i, error));
    return VLMOE_OK;
}

/* folder/name, NULL where nothing is there. */
static vlmoe_status find(const char *folder, const char *name, char **out, vlmoe_error *error)
{
    *out = vlm_path_join(folder, name);
    if (!*out) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory");
    if (vlm_path_exists(*out)) return VLMOE_OK;
    vlm_free(*out);
    *out = NULL;
    return VLMOE_OK;
}

/* pictures/ of a folder, where there is one: a set of its own. */
static vlmoe_status verify_pictures(check *c, const char *path, vlmoe_error *error)
{
    check own = {.limits = c->limits};
    vlm_shards *shards = NULL;
    VLM_TRY(vlm_shards_open(&path, 1, &shards, error));
    vlmoe_status st = verify(&own, shards, error);
    c->n_pictures = vlm_shards_count(shards);
    c->n_faults += own.n_faults;
    vlm_shards_close(shards);
    return st;
}

/* What a labelled set's folder holds beside its shards. */
static vlmoe_status read_folder(check *c, const char *folder, vlmoe_error *error)
{
    char *labels = NULL, *pictures = NULL;
    vlmoe_status st = find(folder, "labels.txt", &labels, error);
    if (!st) st = find(folder, "pictures", &pictures, error);
    if (!st && labels) st = vlm_classes_read(labels, &c->classes, error);
    if (!st && pictures) st = verify_pictures(c, pictures, error);
    vlm_free(labels);
    vlm_free(pictures);
    return st;
}

static void print_totals(const check *c, const vlm_shards *shards)
{
    const int64_t n = vlm_shards_count(shards);
    printf("%lld samples in %lld shards, %lld faults\n", (long long)n,
           (long long)vlm_shards_n_files(shards), (long long)c->n_faults);
    if (c->classes.n)
        printf("%lld classes; %lld samples have a label, %lld have none\n", (long long)c->classes.n,
               (long long)c->n_labelled, (long long)(n - c->n_labelled));
    if (c->n_pictures) printf("%lld pictures in pictures/\n", (long long)c->n_pictures);
}

static int verify_set(const char *tool, const char *path, check *c)
{
    int code = CLI_OK;
    vlmoe_error error = {0};
    vlm_shards *shards = vlm_cli_data_open(tool, path, &code);
    if (!shards) return code;
    vlmoe_status st = vlm_path_is_dir(path) ? read_folder(c, path, &error) : VLMOE_OK;
    if (!st) st = verify(c, shards, &error);
    if (st) code = vlm_cli_report(tool, &error);
    if (!code) {
        print_totals(c, shards);
        code = c->n_faults ? CLI_FORMAT : CLI_OK;
    }
    vlm_classes_free(&c->classes);
    vlm_shards_close(shards);
    return code;
}

int vlm_cli_data_verify(int argc, char **argv)
{
    static const struct option options[] = {{"max-pixels", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    check c = {.limits = VLM_IMAGE_OPTIONS_INIT};
    for (int option; (option = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (option == 'h') {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (option != 'p' || !vlm_cli_int(argv[0], "--max-pixels", optarg, 1, VLM_IMAGE_PIXELS_MAX,
                                          &c.limits.max_pixels))
            return CLI_USAGE;
    }
    if (optind + 1 != argc) return vlm_cli_usage(argv[0], "one folder or tar is needed");
    return verify_set(argv[0], argv[optind], &c);
}
