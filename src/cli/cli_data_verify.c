/* vlmoe-data verify: reads every byte of a set. */
#include <getopt.h>
#include <stdio.h>
#include "base_json.h"
#include "cli_common.h"
#include "cli_data.h"
#include "data_image.h"

static const char help[] =
    "usage: vlmoe-data verify [--max-pixels N] DIR|FILE.tar\n"
    "\n"
    "Compares each shard with the checksum in its index, decodes every picture, and looks at all\n"
    "texts (UTF-8) and json members. Each fault is printed on a line of its own; the exit code is\n"
    "3 if there was any.\n"
    "\n"
    "  --max-pixels N   larger pictures are faults [67108864]\n";

static vlmoe_status check_text(const vlm_bytes *text, vlmoe_error *error)
{
    for (size_t at = 0; at < text->bytes;) {
        size_t n = vlm_utf8_length((const char *)text->data + at, text->bytes - at);
        if (!n) return vlm_fail(error, VLMOE_E_FORMAT, "text is not UTF-8 at its byte %zu", at);
        at += n;
    }
    return VLMOE_OK;
}

static vlmoe_status check_sample(const vlm_sample *sample, const vlm_image_options *limits,
                                 vlmoe_error *error)
{
    if (!sample->image.data && !sample->n_texts)
        return vlm_fail(error, VLMOE_E_FORMAT, "neither picture nor text");
    for (int i = 0; i < sample->n_texts; i++) VLM_TRY(check_text(&sample->texts[i], error));
    if (sample->json.data) {
        vlm_json *doc = NULL;
        VLM_TRY(vlm_json_parse((const char *)sample->json.data, sample->json.bytes, "json", false,
                               &doc, error));
        vlm_json_free(doc);
    }
    const vlm_bytes *const images[] = {&sample->image, &sample->image2};
    for (int i = 0; i < VLM_COUNT(images); i++) {
        vlm_image image = {0};
        if (!images[i]->data) continue;
        VLM_TRY(vlm_image_decode(images[i]->data, images[i]->bytes, limits, &image, error));
        vlm_image_free(&image);
    }
    return VLMOE_OK;
}

/* One sample, its fault printed; only a lack of memory is no fault of the data. */
static vlmoe_status verify_sample(const vlm_shards *shards, int64_t i,
                                  const vlm_image_options *limits, int64_t *n_faults,
                                  vlmoe_error *error)
{
    vlm_sample sample;
    vlmoe_error fault = {0};
    vlmoe_status st = vlm_shards_get(shards, i, &sample, &fault);
    if (!st) {
        st = check_sample(&sample, limits, &fault);
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
        ++*n_faults;
    }
    return VLMOE_OK;
}

static vlmoe_status verify(const vlm_shards *shards, const vlm_image_options *limits,
                           int64_t *n_faults, vlmoe_error *error)
{
    for (int64_t i = 0; i < vlm_shards_n_files(shards); i++) {
        vlmoe_error fault = {0};
        if (!vlm_shards_rehash(shards, i, &fault)) continue;
        printf("%s\n", fault.text);
        ++*n_faults;
    }
    for (int64_t i = 0; i < vlm_shards_count(shards); i++)
        VLM_TRY(verify_sample(shards, i, limits, n_faults, error));
    return VLMOE_OK;
}

int vlm_cli_data_verify(int argc, char **argv)
{
    static const struct option options[] = {{"max-pixels", required_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    vlm_image_options limits = VLM_IMAGE_OPTIONS_INIT;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (c != 'p' || !vlm_cli_int(argv[0], "--max-pixels", optarg, 1, VLM_IMAGE_PIXELS_MAX,
                                     &limits.max_pixels))
            return CLI_USAGE;
    }
    if (optind + 1 != argc) return vlm_cli_usage(argv[0], "one folder or tar is needed");
    int code = CLI_OK;
    vlm_shards *shards = vlm_cli_data_open(argv[0], argv[optind], &code);
    if (!shards) return code;
    int64_t n_faults = 0;
    vlmoe_error error = {0};
    if (verify(shards, &limits, &n_faults, &error)) {
        code = vlm_cli_report(argv[0], &error);
    } else {
        printf("%lld samples in %lld shards, %lld faults\n", (long long)vlm_shards_count(shards),
               (long long)vlm_shards_n_files(shards), (long long)n_faults);
        code = n_faults ? CLI_FORMAT : CLI_OK;
    }
    vlm_shards_close(shards);
    return code;
}
