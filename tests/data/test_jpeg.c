/* JPEG read in part: the pixels of the whole file, bit for bit, for every sampling of chroma; the
 * verdict on a damaged file does not depend on the part; one picture leaves nothing for the next. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "data_image.h"
#include "harness.h"

#ifdef TEST_HAS_JPEG
#include <jpeglib.h>

typedef struct recipe {
    const char *name;
    int h, v; /* sampling of luma; chroma is 1 x 1 */
    int n_channels, restart;
    bool is_progressive, is_arithmetic;
} recipe;
static const recipe recipes[] = {
    {"4:4:4", 1, 1, 3, 0, false, false},          {"4:2:2", 2, 1, 3, 0, false, false},
    {"4:2:0", 2, 2, 3, 0, false, false},          {"4:4:0", 1, 2, 3, 0, false, false},
    {"4:1:1", 4, 1, 3, 0, false, false},          {"4:1:0", 4, 2, 3, 0, false, false},
    {"4:2:0 restarts", 2, 2, 3, 3, false, false}, {"grey", 1, 1, 1, 0, false, false},
    {"progressive", 2, 2, 3, 0, true, false},     {"arithmetic", 2, 2, 3, 0, false, true},
};

typedef struct jpeg_file {
    unsigned char *data;
    unsigned long bytes;
    int64_t width, height;
} jpeg_file;

/* Waves with noise on them: every block has many coefficients. */
static void draw_row(int64_t y, int64_t width, int n_channels, vlm_rng *rng, uint8_t *row)
{
    for (int64_t x = 0; x < width; x++)
        for (int c = 0; c < n_channels; c++)
            row[x * n_channels + c] =
                (uint8_t)((x * (5 + 3 * c) + y * (9 - 2 * c) + (int64_t)vlm_rng_below(rng, 60)) &
                          255);
}

static jpeg_file make_file(const recipe *r, int64_t width, int64_t height)
{
    jpeg_file file = {NULL, 0, width, height};
    struct jpeg_compress_struct info;
    struct jpeg_error_mgr errors;
    vlm_rng rng = vlm_rng_at(1, VLM_STREAM_TEST, (uint64_t)width, (uint64_t)height, 0);
    uint8_t *row = malloc((size_t)width * 3);
    info.err = jpeg_std_error(&errors);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &file.data, &file.bytes);
    info.image_width = (JDIMENSION)width;
    info.image_height = (JDIMENSION)height;
    info.input_components = r->n_channels;
    info.in_color_space = r->n_channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, 85, TRUE);
    info.comp_info[0].h_samp_factor = r->h;
    info.comp_info[0].v_samp_factor = r->v;
    info.restart_interval = (unsigned)r->restart;
    info.arith_code = r->is_arithmetic;
    if (r->is_progressive) jpeg_simple_progression(&info);
    jpeg_start_compress(&info, TRUE);
    for (int64_t y = 0; y < height; y++) {
        draw_row(y, width, r->n_channels, &rng, row);
        jpeg_write_scanlines(&info, &row, 1);
    }
    jpeg_finish_compress(&info);
    jpeg_destroy_compress(&info);
    free(row);
    return file;
}

static vlmoe_status read_part(vlm_workspace *workspace, const jpeg_file *file, const vlm_box *part,
                              uint8_t *pixels, vlmoe_error *error)
{
    vlm_image_file opened;
    vlm_workspace_reset(workspace);
    VLM_TRY(vlm_image_open(workspace, file->data, file->bytes, NULL, &opened, error));
    return vlm_image_read(&opened, part, pixels, error);
}

static vlm_box draw_part(const jpeg_file *file, vlm_rng *rng)
{
    vlm_box part;
    part.width = 1 + (int64_t)vlm_rng_below(rng, (uint64_t)file->width);
    part.height = 1 + (int64_t)vlm_rng_below(rng, (uint64_t)file->height);
    part.x = (int64_t)vlm_rng_below(rng, (uint64_t)(file->width - part.width + 1));
    part.y = (int64_t)vlm_rng_below(rng, (uint64_t)(file->height - part.height + 1));
    return part;
}

static void check_part(const char *name, const jpeg_file *file, const vlm_box *part,
                       const uint8_t *got, const uint8_t *want)
{
    for (int64_t y = part->y; y < part->y + part->height; y++) {
        int64_t at = (y * file->width + part->x) * 3;
        if (memcmp(got + at, want + at, (size_t)part->width * 3))
            test_fail(__FILE__, __LINE__,
                      "%s, %lld x %lld: row %lld of part %lld, %lld, %lld x %lld", name,
                      (long long)file->width, (long long)file->height, (long long)y,
                      (long long)part->x, (long long)part->y, (long long)part->width,
                      (long long)part->height);
    }
}

static void check_parts(const recipe *r, int64_t width, int64_t height, vlm_workspace *workspace)
{
    enum { PARTS = 60 };
    jpeg_file file = make_file(r, width, height);
    const size_t bytes = (size_t)(width * height) * 3;
    uint8_t *want = malloc(bytes), *got = malloc(bytes);
    vlmoe_error error = {0};
    vlm_rng rng = vlm_rng_at(2, VLM_STREAM_TEST, (uint64_t)width, (uint64_t)height, 0);
    CHECK_STATUS_E(read_part(workspace, &file, NULL, want, &error), VLMOE_OK, &error);
    for (int i = 0; i < PARTS; i++) {
        vlm_box part = draw_part(&file, &rng);
        memset(got, i, bytes);
        CHECK_STATUS_E(read_part(workspace, &file, &part, got, &error), VLMOE_OK, &error);
        check_part(r->name, &file, &part, got, want);
    }
    CHECK_STATUS(read_part(workspace, &file, NULL, got, NULL), VLMOE_OK);
    CHECK(!memcmp(got, want, bytes));
    free(file.data);
    free(want);
    free(got);
}

TEST(jpeg_part_has_the_pixels_of_the_whole)
{
    static const int64_t sizes[][2] = {{1, 1}, {17, 9}, {40, 64}, {129, 97}, {200, 151}};
    vlm_workspace *workspace = NULL;
    CHECK_STATUS(vlm_workspace_create(&workspace, NULL), VLMOE_OK);
    for (int i = 0; i < VLM_COUNT(recipes); i++)
        for (int k = 0; k < VLM_COUNT(sizes); k++)
            check_parts(&recipes[i], sizes[k][0], sizes[k][1], workspace);
    vlm_workspace_destroy(workspace);
}

/* A flipped bit, or a cut, in the coded data. */
static void damage(jpeg_file *file, const jpeg_file *whole, vlm_rng *rng)
{
    memcpy(file->data, whole->data, whole->bytes);
    file->bytes = whole->bytes;
    uint64_t at = vlm_rng_below(rng, whole->bytes * 8);
    if (vlm_rng_below(rng, 4) == 0) file->bytes = at / 8;
    else file->data[at / 8] ^= (unsigned char)(1 << at % 8);
}

TEST(jpeg_damage_is_found_whatever_the_part)
{
    enum { SIDE = 97, BYTES = SIDE * SIDE * 3, N = 400 };
    vlm_workspace *workspace = NULL;
    int n_bad = 0, n_good = 0;
    uint8_t *want = malloc(BYTES), *got = malloc(BYTES);
    CHECK_STATUS(vlm_workspace_create(&workspace, NULL), VLMOE_OK);
    for (int i = 0; i < VLM_COUNT(recipes); i++) {
        jpeg_file whole = make_file(&recipes[i], SIDE, SIDE), file = whole;
        vlm_rng rng = vlm_rng_at(4, VLM_STREAM_TEST, (uint64_t)i, 0, 0);
        file.data = malloc(whole.bytes);
        for (int k = 0; k < N; k++) {
            vlm_image_file opened;
            damage(&file, &whole, &rng);
            vlm_workspace_reset(workspace);
            if (vlm_image_open(workspace, file.data, file.bytes, NULL, &opened, NULL)) continue;
            if (opened.width != SIDE || opened.height != SIDE) continue; /* the header was hit */
            vlm_box part = draw_part(&whole, &rng);
            vlmoe_status alone = vlm_image_read(&opened, NULL, want, NULL);
            vlmoe_status st = read_part(workspace, &file, &part, got, NULL);
            if (st != alone)
                test_fail(__FILE__, __LINE__, "%s, damage %d: whole %s, part %s", recipes[i].name,
                          k, vlmoe_status_name(alone), vlmoe_status_name(st));
            if (st) n_bad++;
            else check_part(recipes[i].name, &file, &part, got, want), n_good++;
        }
        free(file.data);
        free(whole.data);
    }
    CHECK(n_bad > 500 && n_good > 500); /* both happen often */
    vlm_workspace_destroy(workspace);
    free(want);
    free(got);
}

TEST(jpeg_without_tables_does_not_borrow_those_of_the_last)
{
    enum { SIDE = 32, BYTES = SIDE * SIDE * 3 };
    jpeg_file file = make_file(&recipes[0], SIDE, SIDE), bare = file;
    vlm_workspace *workspace = NULL, *fresh = NULL;
    uint8_t *pixels = malloc(BYTES);
    bare.data = malloc(file.bytes);
    /* Every quantisation table (marker DB) renamed to an application segment. */
    memcpy(bare.data, file.data, file.bytes);
    for (unsigned long i = 0; i + 1 < bare.bytes && bare.data[i + 1] != 0xda; i++)
        if (bare.data[i] == 0xff && bare.data[i + 1] == 0xdb) bare.data[i + 1] = 0xe9;
    CHECK_STATUS(vlm_workspace_create(&workspace, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_workspace_create(&fresh, NULL), VLMOE_OK);
    CHECK_STATUS(read_part(fresh, &bare, NULL, pixels, NULL), VLMOE_E_FORMAT);
    CHECK_STATUS(read_part(workspace, &file, NULL, pixels, NULL), VLMOE_OK);
    CHECK_STATUS(read_part(workspace, &bare, NULL, pixels, NULL), VLMOE_E_FORMAT);
    CHECK_STATUS(read_part(workspace, &file, NULL, pixels, NULL), VLMOE_OK);
    vlm_workspace_destroy(workspace);
    vlm_workspace_destroy(fresh);
    free(file.data);
    free(bare.data);
    free(pixels);
}
#else
TEST(jpeg_library_is_missing)
{
    CHECK(true);
}
#endif
