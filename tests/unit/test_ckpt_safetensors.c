/* safetensors: round trips, exact bytes, and a reader that survives anything. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "ckpt_safetensors.h"
#include "harness.h"

static char *in_tmp(const char *name)
{
    return vlm_path_join(test_tmp_dir(), name);
}

static vlm_st_decl decl(const char *name, vlm_st_dtype dtype, int rank, const int64_t *dims)
{
    return (vlm_st_decl){name, dtype, rank, dims};
}

/* Three tensors of all widths and one empty one, with metadata. */
static void write_sample(const char *path)
{
    static const double wide[] = {1.5, -2.5};
    static const float matrix[] = {1, 2, 3, 4, 5, 6};
    static const unsigned char bytes[] = {7, 8, 9};
    const vlm_st_decl decls[] = {
        decl("wide", VLMOE_F64, 1, (const int64_t[]){2}),
        decl("none", VLMOE_I32, 2, (const int64_t[]){0, 5}),
        decl("m\"x", VLMOE_F32, 2, (const int64_t[]){2, 3}),
        decl("bytes", VLMOE_U8, 1, (const int64_t[]){3}),
    };
    vlm_st_writer *writer = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_st_writer_create(path, &writer, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_metadata(writer, "format", "test", NULL), VLMOE_OK);
    for (int i = 0; i < VLM_COUNT(decls); i++)
        CHECK_STATUS(vlm_st_writer_declare(writer, &decls[i], NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_metadata(writer, "step", "12", NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_put(writer, "wide", wide, sizeof wide, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_put(writer, "m\"x", matrix, 8, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_put(writer, "m\"x", matrix + 2, 16, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_put(writer, "bytes", bytes, 3, NULL), VLMOE_OK);
    CHECK_STATUS_E(vlm_st_writer_close(writer, &error), VLMOE_OK, &error);
}

TEST(what_is_written_is_read_back)
{
    char *path = in_tmp("a.safetensors");
    write_sample(path);
    vlm_st *st = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_st_open(path, &st, &error), VLMOE_OK, &error);
    CHECK_INT(vlm_st_count(st), 4);
    CHECK_TEXT(vlm_st_get(st, 0)->name, "wide");
    CHECK_TEXT(vlm_st_get(st, 3)->name, "bytes");
    const vlm_st_tensor *m = vlm_st_find(st, "m\"x");
    CHECK(m != NULL);
    CHECK_INT(m->dtype, VLMOE_F32);
    CHECK_INT(m->rank, 2);
    CHECK_INT(m->dims[0], 2);
    CHECK_INT(m->dims[1], 3);
    CHECK_INT(m->bytes, 24);
    CHECK_INT((uintptr_t)m->data % 8, 0);
    CHECK(((const float *)m->data)[5] == 6.0f);
    CHECK(((const double *)vlm_st_find(st, "wide")->data)[1] == -2.5);
    CHECK_INT(vlm_st_find(st, "none")->bytes, 0);
    CHECK_INT(((const unsigned char *)vlm_st_find(st, "bytes")->data)[2], 9);
    CHECK(vlm_st_find(st, "m") == NULL && vlm_st_find(st, "zzz") == NULL &&
          vlm_st_find(st, "") == NULL);
    CHECK_TEXT(vlm_st_metadata(st, "format"), "test");
    CHECK_TEXT(vlm_st_metadata(st, "step"), "12");
    CHECK(vlm_st_metadata(st, "none") == NULL);
    vlm_st_close(st);
    vlm_st_close(NULL);
    vlm_free(path);
}

/* The layout, byte for byte, as a second reading of the format's description. */
TEST(the_bytes_are_those_of_the_format)
{
    static const char header[] = "{\"__metadata__\":{\"a\":\"b\"},\"t\":{\"dtype\":\"I64\","
                                 "\"shape\":[1,1],\"data_offsets\":[0,8]}}";
    char *path = in_tmp("b.safetensors");
    vlm_st_writer *writer = NULL;
    const int64_t value = 0x0102030405060708;
    const vlm_st_decl one = decl("t", VLM_ST_I64, 2, (const int64_t[]){1, 1});
    CHECK_STATUS(vlm_st_writer_create(path, &writer, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_metadata(writer, "a", "b", NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_declare(writer, &one, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_put(writer, "t", &value, 8, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_close(writer, NULL), VLMOE_OK);
    vlm_map map;
    CHECK_STATUS(vlm_map_open(path, &map, NULL), VLMOE_OK);
    size_t padded = (strlen(header) + 7) / 8 * 8;
    CHECK_INT(map.bytes, 8 + padded + 8);
    CHECK_INT(map.data[0], padded);
    for (int i = 1; i < 8; i++) CHECK_INT(map.data[i], 0);
    CHECK(memcmp(map.data + 8, header, strlen(header)) == 0);
    for (size_t i = strlen(header); i < padded; i++) CHECK_INT(map.data[8 + i], ' ');
    CHECK_INT(map.data[8 + padded], 8); /* little-endian */
    vlm_map_close(&map);
    vlm_free(path);
}

TEST(an_empty_file_of_tensors_is_sound)
{
    char *path = in_tmp("none.safetensors");
    vlm_st_writer *writer = NULL;
    vlm_st *st = NULL;
    CHECK_STATUS(vlm_st_writer_create(path, &writer, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_close(writer, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_open(path, &st, NULL), VLMOE_OK);
    CHECK_INT(vlm_st_count(st), 0);
    CHECK(vlm_st_find(st, "x") == NULL && vlm_st_metadata(st, "x") == NULL);
    vlm_st_close(st);
    vlm_free(path);
}

TEST(a_writer_refuses_what_a_reader_would)
{
    static const int64_t two[] = {2}, negative[] = {-1}, huge[] = {INT64_MAX / 2, 4}, three[] = {3};
    char *path = in_tmp("bad.safetensors");
    vlm_st_writer *writer = NULL;
    CHECK_STATUS(vlm_st_writer_create(path, &writer, NULL), VLMOE_OK);
    const vlm_st_decl bad[] = {
        decl("", VLMOE_F32, 1, two),
        decl("\xFF", VLMOE_F32, 1, two),
        decl("__metadata__", VLMOE_F32, 1, two),
        decl("x", 55, 1, two),
        decl("x", VLMOE_F32, 9, two),
        decl("x", VLMOE_F32, 1, negative),
        decl("x", VLMOE_F32, 2, huge),
    };
    for (int i = 0; i < VLM_COUNT(bad); i++)
        CHECK_STATUS(vlm_st_writer_declare(writer, &bad[i], NULL), VLMOE_E_ARG);
    CHECK_STATUS(vlm_st_writer_metadata(writer, "k", "\xFF", NULL), VLMOE_E_ARG);
    const vlm_st_decl odd = decl("odd", VLMOE_U8, 1, three),
                      after = decl("after", VLMOE_F32, 1, two);
    CHECK_STATUS(vlm_st_writer_declare(writer, &odd, NULL), VLMOE_OK);
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_st_writer_declare(writer, &after, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "\"after\" would begin at byte 3, unaligned");
    CHECK_STATUS(vlm_st_writer_declare(writer, &odd, NULL),
                 VLMOE_OK); /* noticed when the header is made */
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_st_writer_put(writer, "odd", "abc", 3, &error), VLMOE_E_ARG);
    CHECK_INT(error.status, VLMOE_E_ARG);
    CHECK_HAS(error.text, "\"odd\" appears twice");
    vlm_st_writer_abandon(writer);
    CHECK(!vlm_path_exists(path));
    vlm_st_writer_abandon(NULL);
    vlm_free(path);
}

TEST(data_in_the_wrong_order_or_amount_is_refused)
{
    static const int64_t two[] = {2};
    char *path = in_tmp("order.safetensors");
    vlm_st_writer *writer = NULL;
    const vlm_st_decl a = decl("a", VLMOE_F32, 1, two), b = decl("b", VLMOE_F32, 1, two);
    CHECK_STATUS(vlm_st_writer_create(path, &writer, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_declare(writer, &a, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_declare(writer, &b, NULL), VLMOE_OK);
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_st_writer_put(writer, "b", "12345678", 8, &error), VLMOE_E_STATE);
    CHECK_HAS(error.text, "\"b\" came, \"a\" is due");
    CHECK_STATUS(vlm_st_writer_put(writer, "a", "123456789", 9, NULL), VLMOE_E_STATE);
    CHECK_STATUS(vlm_st_writer_put(writer, "a", "12345678", 8, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_put(writer, "b", "1234", 4, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_declare(writer, &a, NULL), VLMOE_E_STATE);
    CHECK_STATUS(vlm_st_writer_metadata(writer, "a", "b", NULL), VLMOE_E_STATE);
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_st_writer_close(writer, &error), VLMOE_E_STATE);
    CHECK_HAS(error.text, "\"b\" got 4 of 8 bytes");
    CHECK(!vlm_path_exists(path));
    vlm_free(path);
}

TEST(a_full_disk_comes_out_of_close)
{
    vlm_st_writer *writer = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_st_writer_create("/dev/full", &writer, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_st_writer_close(writer, &error), VLMOE_E_IO);
    CHECK_HAS(error.text, "/dev/full: No space left");
    CHECK_STATUS(vlm_st_writer_create("/nonexistent/x", &writer, NULL), VLMOE_E_IO);
}

/* Open header + data as a file in memory of exactly its size, so that a read past the end is seen.
 */
static vlmoe_status open_text(const char *header, size_t data_bytes, vlmoe_error *error)
{
    size_t n = strlen(header), bytes = 8 + n + data_bytes;
    unsigned char *file = vlm_alloc(bytes);
    file[0] = (unsigned char)n;
    file[1] = (unsigned char)(n >> 8);
    memcpy(file + 8, header, n);
    vlm_st *st = NULL;
    vlmoe_status status = vlm_st_open_bytes(file, bytes, "t", &st, error);
    vlm_st_close(st);
    vlm_free(file);
    return status;
}

TEST(headers_that_lie_are_refused_with_the_reason)
{
#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    static const struct {
        const char *header;
        size_t bytes;
        vlmoe_status status;
        const char *reason;
    } cases[] = {
        {"{" T("a", "F32", "[2]", "[0,8]") "}", 8, VLMOE_OK, ""},
        {"{" T("a", "F32", "[]", "[0,4]") "}   ", 4, VLMOE_OK, ""},
        {"{" T("a", "F32", "[2]", "[0,8]") "}", 9, VLMOE_E_FORMAT, "end at byte 8, the data has 9"},
        {"{" T("a", "F32", "[2]", "[0,8]") "}", 7, VLMOE_E_FORMAT, "claims bytes 0 to 8 of 7"},
        {"{" T("a", "F32", "[3]", "[0,8]") "}", 8, VLMOE_E_FORMAT,
         "has 8 bytes, its shape and dtype need 12"},
        {"{" T("a", "F32", "[2]", "[8,0]") "}", 8, VLMOE_E_FORMAT, "claims bytes 8 to 0"},
        {"{" T("a", "F32", "[2]", "[-8,0]") "}", 8, VLMOE_E_FORMAT, "claims bytes -8"},
        {"{" T("a", "F32", "[2]", "[0,8.5]") "}", 8, VLMOE_E_FORMAT, "two whole numbers"},
        {"{" T("a", "F32", "[2]", "[0,8,9]") "}", 8, VLMOE_E_FORMAT, "two whole numbers"},
        {"{" T("a", "F32", "[-2]", "[0,8]") "}", 8, VLMOE_E_FORMAT,
         "dimension 0 is not a whole number"},
        {"{" T("a", "F32", "[4503599627370496,4503599627370496]", "[0,8]") "}", 8, VLMOE_E_FORMAT,
         "too large"},
        {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", 8, VLMOE_E_UNSUPPORTED,
         "9 dimensions"},
        {"{" T("a", "F16", "[4]", "[0,8]") "}", 8, VLMOE_E_UNSUPPORTED, "dtype \"F16\""},
        {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[4,8]") "}", 8, VLMOE_OK, ""},
        {"{" T("a", "U8", "[4]", "[4,8]") "," T("b", "U8", "[4]", "[0,4]") "}", 8, VLMOE_OK, ""},
        {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[3,7]") "}", 8, VLMOE_E_FORMAT,
         "\"b\" begins at byte 3, expected 4 (an overlap)"},
        {"{" T("a", "U8", "[3]", "[0,3]") "," T("b", "U8", "[4]", "[4,8]") "}", 8, VLMOE_E_FORMAT,
         "expected 3 (a hole)"},
        {"{" T("a", "U8", "[4]", "[0,4]") "," T("a", "U8", "[4]", "[4,8]") "}", 8, VLMOE_E_FORMAT,
         "\"a\" appears twice"},
        {"{" T("", "U8", "[8]", "[0,8]") "}", 8, VLMOE_E_FORMAT, "no name"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8]}}", 8, VLMOE_E_FORMAT,
         "needs dtype, shape and data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"offsets\":[0,8]}}", 8, VLMOE_E_FORMAT,
         "data_offsets"},
        {"{\"a\":{\"dtype\":3,\"shape\":[8],\"data_offsets\":[0,8]}}", 8, VLMOE_E_FORMAT,
         "no dtype"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":8,\"data_offsets\":[0,8]}}", 8, VLMOE_E_FORMAT,
         "no shape"},
        {"{\"a\":7}", 0, VLMOE_E_FORMAT, "needs dtype"},
        {"{\"__metadata__\":{\"a\":1}}", 0, VLMOE_E_FORMAT, "not a string"},
        {"{\"__metadata__\":[]}", 0, VLMOE_E_FORMAT, "not an object"},
        {"[]", 0, VLMOE_E_FORMAT, "does not begin with '{'"},
        {" {}", 0, VLMOE_E_FORMAT, "does not begin with '{'"},
        {"", 0, VLMOE_E_FORMAT, "does not begin with '{'"},
        {"{}x", 0, VLMOE_E_FORMAT, "nothing after the value"},
    };
    for (int i = 0; i < VLM_COUNT(cases); i++) {
        vlmoe_error error = {0};
        CHECK_STATUS_E(open_text(cases[i].header, cases[i].bytes, &error), cases[i].status, &error);
        CHECK_HAS(error.text, cases[i].reason);
    }
}

/* Open, and touch everything that an accepted file offers. */
static vlmoe_status open_and_touch(const unsigned char *file, size_t bytes)
{
    vlm_st *st = NULL;
    vlmoe_status status = vlm_st_open_bytes(file, bytes, "t", &st, NULL);
    if (status) return status;
    unsigned sum = 0;
    for (int64_t i = 0; i < vlm_st_count(st); i++) {
        const vlm_st_tensor *t = vlm_st_get(st, i);
        CHECK(vlm_st_find(st, t->name) == t);
        for (size_t k = 0; k < t->bytes; k++) sum += ((const unsigned char *)t->data)[k];
    }
    CHECK(sum < 1u << 20);
    vlm_st_close(st);
    return VLMOE_OK;
}

TEST(every_length_and_every_header_byte_is_survived)
{
    char *path = in_tmp("fuzz.safetensors"), *text;
    size_t bytes;
    write_sample(path);
    CHECK_STATUS(vlm_file_read(path, 1 << 20, &text, &bytes, NULL), VLMOE_OK);
    for (size_t n = 0; n < bytes; n++) {
        unsigned char *cut = vlm_alloc(n); /* exactly n: the sanitizer sees a read beyond */
        memcpy(cut, text, n);
        CHECK_STATUS(open_and_touch(cut, n), VLMOE_E_FORMAT);
        vlm_free(cut);
    }
    static const unsigned char marks[] = "\0\"{}[],:0-9\\\xFF\x80/ ";
    unsigned char *copy = vlm_alloc(bytes);
    size_t header = 8 + (unsigned char)text[0] + 256 * (size_t)(unsigned char)text[1];
    for (size_t at = 0; at < header; at++) {
        memcpy(copy, text, bytes);
        for (int bit = 0; bit < 8; bit++) {
            copy[at] = (unsigned char)(text[at] ^ 1 << bit);
            open_and_touch(copy, bytes);
        }
        for (size_t i = 0; i < sizeof marks - 1; i++) {
            copy[at] = marks[i];
            open_and_touch(copy, bytes);
        }
    }
    vlm_free(copy);
    vlm_free(text);
    vlm_free(path);
}

TEST(a_length_field_beyond_the_file_is_refused)
{
    unsigned char file[16] = {0};
    vlm_st *st = NULL;
    for (int i = 0; i < 8; i++) {
        memset(file, 0, sizeof file);
        file[i] = 0xFF;
        vlmoe_error error = {0};
        CHECK_STATUS(vlm_st_open_bytes(file, sizeof file, "t", &st, &error), VLMOE_E_FORMAT);
        CHECK_HAS(error.text, "claims a header of");
    }
}

TEST(many_tensors_are_found_by_name)
{
    enum { N = 3000 };
    char *path = in_tmp("many.safetensors"), name[32];
    vlm_st_writer *writer = NULL;
    CHECK_STATUS(vlm_st_writer_create(path, &writer, NULL), VLMOE_OK);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "layer.%d.w", i * 7 % N);
        const vlm_st_decl one = decl(name, VLMOE_I32, 1, (const int64_t[]){1});
        CHECK_STATUS(vlm_st_writer_declare(writer, &one, NULL), VLMOE_OK);
    }
    for (int32_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "layer.%d.w", i * 7 % N);
        CHECK_STATUS(vlm_st_writer_put(writer, name, &i, 4, NULL), VLMOE_OK);
    }
    CHECK_STATUS(vlm_st_writer_close(writer, NULL), VLMOE_OK);
    vlm_st *st = NULL;
    CHECK_STATUS(vlm_st_open(path, &st, NULL), VLMOE_OK);
    CHECK_INT(vlm_st_count(st), N);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "layer.%d.w", i * 7 % N);
        CHECK_INT(*(const int32_t *)vlm_st_find(st, name)->data, i);
    }
    vlm_st_close(st);
    vlm_free(path);
}
