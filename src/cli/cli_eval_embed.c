/* vlmoe-eval embed: features and logits of pictures and texts that a user brings, as safetensors.
 * Names and shapes of the tensors: docs/FORMATS.md, "Features". */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli_common.h"
#include "cli_eval.h"
#include "cli_manifest.h"
#include "train_features.h"

static const char help[] =
    "usage: vlmoe-eval embed --checkpoint DIR (--images FILE | --texts FILE | --pairs FILE.jsonl)\n"
    "                        --out FILE.safetensors [section.key=value ...] [options]\n"
    "\n"
    "Final vectors of each picture and text. A result does not depend on the other items.\n"
    "  --checkpoint DIR   a pretrained checkpoint, or a run's folder for its newest\n"
    "  --best             the run's best by held-out loss instead\n"
    "  --images FILE      a path a line, or .jsonl with \"image\"; relative to FILE's folder\n"
    "  --texts FILE       a text a line, or .jsonl with \"text\"\n"
    "  --pairs FILE       .jsonl with \"image\" and \"text\"; they see each other\n"
    "  --out FILE         where tensors go; names and shapes: docs/FORMATS.md\n"
    "  --logits           also word logits of every token and image code logits of every patch\n"
    "  --batch N          items a recording [32]; changes time and memory alone\n"
    "Blank lines are passed over. Texts longer than model.text_len are cut, with a warning.\n";

typedef struct options {
    vlm_cli_model_options model;
    vlm_item_kind kind;
    const char *list, *out;
    bool logits;
    int64_t batch;
} options;

/* ---- tensors that grow by rows ---- */

enum {
    IMAGE_CLS,
    IMAGE_MEAN,
    TEXT_CLS,
    TEXT_MEAN,
    WORD_LOGITS,
    CODE_LOGITS,
    TOKEN,
    OFFSET,
    COLUMNS
};

typedef struct column {
    const char *name;
    vlm_st_dtype dtype;
    bool is_on;
    int rank;
    int64_t dims[3]; /* dims[0] rows so far */
    int64_t capacity;
    char *data;
} column;

static size_t row_bytes(const column *c)
{
    size_t bytes = vlm_st_dtype_size(c->dtype);
    for (int i = 1; i < c->rank; i++) bytes *= (size_t)c->dims[i];
    return bytes;
}

/* Room for n more rows, counted as written; NULL = off or out of memory. */
static void *grow(column *c, int64_t n, vlmoe_error *error)
{
    size_t row = row_bytes(c);
    int64_t rows = c->dims[0] + n;
    if (!c->is_on) return NULL;
    if (rows > c->capacity) {
        int64_t capacity = VLM_MAX(rows, 2 * c->capacity);
        char *data = vlm_alloc_array((size_t)capacity, row);
        if (!data) {
            vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %lld rows of %s", (long long)capacity,
                     c->name);
            return NULL;
        }
        if (c->data) memcpy(data, c->data, (size_t)c->dims[0] * row);
        vlm_free(c->data);
        c->data = data;
        c->capacity = capacity;
    }
    void *at = c->data + (size_t)c->dims[0] * row;
    c->dims[0] = rows;
    return at;
}

typedef struct job {
    const options *o;
    vlm_cli_model model;
    vlm_manifest manifest;
    column columns[COLUMNS];
    int64_t n_cut;
    uint8_t *pixels; /* of the present batch */
    int32_t *token, *offset;
} job;

static column f32_column(const char *name, bool is_on, int64_t a, int64_t b)
{
    return (column){name, VLMOE_F32, is_on, b ? 3 : 2, {0, a, b}, 0, NULL};
}

static void set_columns(job *j)
{
    const vlmoe_trainer *t = j->model.trainer;
    const vlm_cfg_model *m = &t->config->model;
    bool has_image = j->o->kind != VLM_ITEM_TEXT, has_text = j->o->kind != VLM_ITEM_IMAGE;
    int64_t grid = m->image_size / m->patch, V = t->spm ? vlm_spm_special(t->spm).n : 0;
    bool has_codes = j->o->logits && has_image && t->tokeniser;
    column *c = j->columns;
    c[IMAGE_CLS] = f32_column("image_cls", has_image, m->width, 0);
    c[IMAGE_MEAN] = f32_column("image_mean", has_image, m->width, 0);
    c[TEXT_CLS] = f32_column("text_cls", has_text, m->width, 0);
    c[TEXT_MEAN] = f32_column("text_mean", has_text, m->width, 0);
    c[WORD_LOGITS] = f32_column("word_logits", j->o->logits && has_text, V, 0);
    c[CODE_LOGITS] = f32_column("code_logits", has_codes, grid * grid, t->config->tokeniser.codes);
    c[TOKEN] = (column){"token", VLMOE_I32, has_text, 1, {0}, 0, NULL};
    c[OFFSET] = (column){"text_offset", VLMOE_I32, has_text, 1, {0}, 0, NULL};
}

/* ---- items ---- */

static vlmoe_status decode(const job *j, const vlm_sample *sample, uint8_t *pixels,
                           vlmoe_error *error)
{
    vlm_image image = {0};
    VLM_TRY(vlm_image_decode(sample->image.data, sample->image.bytes, &j->manifest.limits, &image,
                             error));
    const vlmoe_config *config = j->model.trainer->config;
    vlmoe_status st = vlm_image_fit(&image, vlm_source_fit(config), config->model.image_size,
                                    pixels, NULL, error);
    vlm_image_free(&image);
    return st;
}

/* A line of a plain list of pictures. */
static vlmoe_status load_picture(const job *j, uint8_t *pixels, vlmoe_error *error)
{
    size_t n = j->manifest.line_bytes;
    while (n && strchr(" \t\r", j->manifest.line[n - 1])) n--;
    char *name = vlm_format("%.*s", (int)n, j->manifest.line);
    char *path = name ? vlm_path_join(j->manifest.folder, name) : NULL;
    vlmoe_status st = path ? vlm_picture_load(j->model.trainer->config, path, pixels, error)
                           : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a path");
    vlm_free(name);
    vlm_free(path);
    return st;
}

static vlmoe_status add_text(job *j, const vlm_sample *sample, int64_t i, vlmoe_error *error)
{
    const vlmoe_trainer *t = j->model.trainer;
    const vlm_bytes *text = &sample->texts[0];
    int64_t n = 0, n_all = 0;
    VLM_TRY(vlm_spm_encode(t->spm, (const char *)text->data, text->bytes, t->config->model.text_len,
                           j->token + j->offset[i], &n, &n_all, error));
    j->offset[i + 1] = j->offset[i] + (int32_t)n;
    j->n_cut += n_all > n;
    return VLMOE_OK;
}

static vlmoe_status add_item(job *j, int64_t i, vlmoe_error *error)
{
    const int64_t size = j->model.trainer->config->model.image_size;
    const vlm_item_kind kind = j->o->kind;
    uint8_t *pixels = kind == VLM_ITEM_TEXT ? NULL : j->pixels + i * size * size * 3;
    vlm_sample sample;
    if (kind == VLM_ITEM_IMAGE && !j->manifest.is_json) return load_picture(j, pixels, error);
    VLM_TRY(vlm_manifest_sample(&j->manifest, &sample, error));
    if (pixels && !sample.image.data)
        return vlm_fail(error, VLMOE_E_FORMAT, "the row has no \"image\"");
    if (kind != VLM_ITEM_IMAGE && !sample.n_texts)
        return vlm_fail(error, VLMOE_E_FORMAT, "the row has no \"text\"");
    if (pixels) VLM_TRY(decode(j, &sample, pixels, error));
    return kind == VLM_ITEM_IMAGE ? VLMOE_OK : add_text(j, &sample, i, error);
}

/* Up to a batch of items; *n = 0 at the end of the list. */
static vlmoe_status read_batch(job *j, int64_t *n, vlmoe_error *error)
{
    for (*n = 0; *n < j->o->batch && vlm_manifest_next(&j->manifest); ++*n) {
        vlmoe_status st = add_item(j, *n, error);
        if (!st) continue;
        char place[512];
        snprintf(place, sizeof place, "%s line %lld", j->manifest.path,
                 (long long)j->manifest.n_line);
        return strstr(error->text, place) ? st : vlm_fail_in(error, "%s", place);
    }
    return VLMOE_OK;
}

/* ---- work ---- */

static vlmoe_status keep_tokens(job *j, int64_t n, vlmoe_error *error)
{
    if (j->o->kind == VLM_ITEM_IMAGE) return VLMOE_OK;
    int32_t before = (int32_t)j->columns[TOKEN].dims[0];
    int32_t *token = grow(&j->columns[TOKEN], j->offset[n], error);
    int32_t *offset = grow(&j->columns[OFFSET], n, error);
    if (!token || !offset) return error->status;
    memcpy(token, j->token, (size_t)j->offset[n] * sizeof *token);
    for (int64_t i = 0; i < n; i++) offset[i] = before + j->offset[i + 1];
    return VLMOE_OK;
}

static vlmoe_status run_batch(job *j, int64_t n, vlmoe_error *error)
{
    const vlm_items items = {j->o->kind, n, j->pixels, j->token, j->offset};
    int64_t n_tokens = j->o->kind == VLM_ITEM_IMAGE ? 0 : j->offset[n];
    vlm_features out = {
        .image_cls = grow(&j->columns[IMAGE_CLS], n, error),
        .image_mean = grow(&j->columns[IMAGE_MEAN], n, error),
        .text_cls = grow(&j->columns[TEXT_CLS], n, error),
        .text_mean = grow(&j->columns[TEXT_MEAN], n, error),
        .word_logits = grow(&j->columns[WORD_LOGITS], n_tokens, error),
        .code_logits = grow(&j->columns[CODE_LOGITS], n, error),
    };
    if (error->status) return error->status;
    VLM_TRY(keep_tokens(j, n, error));
    vlmoe_status st = vlm_features_make(j->model.trainer, &items, &out);
    return st ? vlm_fail(error, st, "%s", vlmoe_trainer_error(j->model.trainer)) : VLMOE_OK;
}

static vlmoe_status prepare(job *j, vlmoe_error *error)
{
    const vlmoe_config *config = j->model.trainer->config;
    size_t n = (size_t)j->o->batch, size = (size_t)config->model.image_size;
    j->manifest.path = j->o->list;
    j->manifest.limits.max_pixels = config->data.max_pixels;
    for (int i = 0; i < 3; i++)
        j->manifest.limits.background[i] = (uint8_t)config->data.background.at[i];
    VLM_TRY(vlm_manifest_open(&j->manifest, error));
    set_columns(j);
    j->pixels = vlm_alloc_array(n, 3 * size * size);
    j->token = vlm_alloc_array(n, (size_t)config->model.text_len * sizeof *j->token);
    j->offset = vlm_alloc_array(n + 1, sizeof *j->offset);
    if (!j->pixels || !j->token || !j->offset)
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a batch of %zu items", n);
    if (j->o->kind == VLM_ITEM_IMAGE) return VLMOE_OK;
    int32_t *first = grow(&j->columns[OFFSET], 1, error);
    if (first) *first = 0;
    return error->status;
}

static vlmoe_status write_columns(const job *j, vlm_st_writer *writer, vlmoe_error *error)
{
    const vlmoe_trainer *t = j->model.trainer;
    char step[32];
    snprintf(step, sizeof step, "%lld", (long long)t->step);
    VLM_TRY(vlm_st_writer_metadata(writer, "format", "vlmoe-features-1", error));
    VLM_TRY(vlm_st_writer_metadata(writer, "checkpoint", j->model.path, error));
    VLM_TRY(vlm_st_writer_metadata(writer, "step", step, error));
    for (int i = 0; i < COLUMNS; i++) {
        const column *c = &j->columns[i];
        const vlm_st_decl decl = {c->name, c->dtype, c->rank, c->dims};
        if (c->is_on) VLM_TRY(vlm_st_writer_declare(writer, &decl, error));
    }
    for (int i = 0; i < COLUMNS; i++) {
        const column *c = &j->columns[i];
        size_t bytes = (size_t)c->dims[0] * row_bytes(c);
        if (c->is_on && bytes) VLM_TRY(vlm_st_writer_put(writer, c->name, c->data, bytes, error));
    }
    return VLMOE_OK;
}

static vlmoe_status write_file(const job *j, vlmoe_error *error)
{
    vlm_st_writer *writer = NULL;
    VLM_TRY(vlm_st_writer_create(j->o->out, &writer, error));
    vlmoe_status st = write_columns(j, writer, error);
    if (!st) return vlm_st_writer_close(writer, error);
    vlm_st_writer_abandon(writer);
    return st;
}

static vlmoe_status check_model(const job *j, vlmoe_error *error)
{
    const vlmoe_trainer *t = j->model.trainer;
    if (!t->model)
        return vlm_fail(error, VLMOE_E_ARG,
                        "%s is an image tokeniser's checkpoint; features need task pretrain",
                        j->model.path);
    if (j->o->kind != VLM_ITEM_IMAGE && !t->spm)
        return vlm_fail(error, VLMOE_E_ARG, "%s was trained without texts", j->model.path);
    return VLMOE_OK;
}

static vlmoe_status embed_all(job *j, vlmoe_error *error)
{
    VLM_TRY(check_model(j, error));
    VLM_TRY(prepare(j, error));
    int64_t n = 0, all = 0;
    do {
        VLM_TRY(read_batch(j, &n, error));
        if (n) VLM_TRY(run_batch(j, n, error));
        all += n;
    } while (n);
    if (!all) return vlm_fail(error, VLMOE_E_FORMAT, "%s lists nothing", j->o->list);
    VLM_TRY(write_file(j, error));
    printf("%s: %lld items, width %lld, from %s\n", j->o->out, (long long)all,
           (long long)j->model.trainer->config->model.width, j->model.path);
    return VLMOE_OK;
}

static int embed(const char *tool, const options *o)
{
    job j = {.o = o};
    vlmoe_error error = {VLMOE_OK, ""};
    vlmoe_status st = vlm_cli_check_outputs(&o->out, 1, &error);
    if (!st) st = vlm_cli_model_open_bare(tool, &o->model, &j.model, &error);
    if (!st) st = embed_all(&j, &error);
    if (!st && j.n_cut)
        fprintf(stderr, "%s: warning: %lld texts were longer than %lld tokens and were cut\n", tool,
                (long long)j.n_cut, (long long)j.model.trainer->config->model.text_len);
    for (int i = 0; i < COLUMNS; i++) vlm_free(j.columns[i].data);
    vlm_free(j.pixels);
    vlm_free(j.token);
    vlm_free(j.offset);
    vlm_manifest_close(&j.manifest);
    vlm_cli_model_close(&j.model);
    return st ? vlm_cli_report(tool, &error) : CLI_OK;
}

/* ---- arguments ---- */

static const struct option long_options[] = {{"checkpoint", required_argument, NULL, 'c'},
                                             {"best", no_argument, NULL, 'b'},
                                             {"images", required_argument, NULL, 'i'},
                                             {"texts", required_argument, NULL, 't'},
                                             {"pairs", required_argument, NULL, 'p'},
                                             {"out", required_argument, NULL, 'o'},
                                             {"logits", no_argument, NULL, 'l'},
                                             {"batch", required_argument, NULL, 'n'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

/* false = reported. */
static bool set_list(const char *tool, options *o, vlm_item_kind kind)
{
    if (o->list) vlm_cli_usage(tool, "one of --images, --texts and --pairs, not two");
    else o->list = optarg;
    o->kind = kind;
    return o->list == optarg;
}

static bool read_option(const char *tool, int code, options *o)
{
    switch (code) {
    case 'c':
        o->model.checkpoint = optarg;
        return true;
    case 'b':
        o->model.best = true;
        return true;
    case 'i':
        return set_list(tool, o, VLM_ITEM_IMAGE);
    case 't':
        return set_list(tool, o, VLM_ITEM_TEXT);
    case 'p':
        return set_list(tool, o, VLM_ITEM_PAIR);
    case 'o':
        o->out = optarg;
        return true;
    case 'l':
        o->logits = true;
        return true;
    case 'n':
        return vlm_cli_int(tool, "--batch", optarg, 1, 65536, &o->batch);
    default:
        vlm_cli_usage(tool, "see the message above");
        return false;
    }
}

int vlm_cli_eval_embed(int argc, char **argv)
{
    options o = {.batch = 32};
    const char *tool = argv[0];
    for (int code; (code = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        if (code == 'h') {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (!read_option(tool, code, &o)) return CLI_USAGE;
    }
    if (!vlm_cli_settings(tool, argc, argv, optind, &o.model)) return CLI_USAGE;
    if (!o.model.checkpoint) return vlm_cli_usage(tool, "--checkpoint DIR is missing");
    if (!o.list) return vlm_cli_usage(tool, "--images, --texts or --pairs is missing");
    if (!o.out) return vlm_cli_usage(tool, "--out FILE is missing");
    return embed(tool, &o);
}
