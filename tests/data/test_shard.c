/* Shards: what the writer writes comes back; archives of other programs are read; damage is named.
 */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "base_hash.h"
#include "data_shard.h"
#include "data_tar.h"
#include "harness.h"

/* ---- Tars made by hand ---- */

typedef struct tar_text {
    unsigned char data[1 << 16];
    size_t bytes;
} tar_text;

static void put_sum(unsigned char *block)
{
    unsigned sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < 512; i++) sum += block[i];
    snprintf((char *)block + 148, 8, "%06o", sum);
}

/* A member of any type; returns its header, to be changed and summed again. */
static unsigned char *put(tar_text *tar, const char *path, char type, const char *text)
{
    unsigned char *block = tar->data + tar->bytes;
    size_t bytes = strlen(text);
    memset(block, 0, 512);
    memcpy(block, path, strlen(path) < 100 ? strlen(path) : 100);
    snprintf((char *)block + 124, 12, "%011o", (unsigned)bytes);
    block[156] = (unsigned char)type;
    memcpy(block + 257, "ustar\00000", 8);
    put_sum(block);
    memcpy(block + 512, text, bytes);
    tar->bytes += 512 + (bytes + 511) / 512 * 512;
    return block;
}

static void put_end(tar_text *tar)
{
    tar->bytes += 1024; /* the text starts as zeros */
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", test_tmp_dir(), name);
    return path;
}

static void save(const char *path, const void *data, size_t bytes)
{
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_file_replace(path, data, bytes, &error), VLMOE_OK, &error);
}

static vlmoe_status open_one(const char *path, vlm_shards **out, vlmoe_error *error)
{
    *error = (vlmoe_error){0};
    return vlm_shards_open(&path, 1, out, error);
}

static vlm_shards *open_tar(const tar_text *tar)
{
    vlm_shards *shards = NULL;
    vlmoe_error error;
    save(path_of("a.tar"), tar->data, tar->bytes);
    CHECK_STATUS_E(open_one(path_of("a.tar"), &shards, &error), VLMOE_OK, &error);
    return shards;
}

static bool is(vlm_bytes bytes, const char *text)
{
    return bytes.data && bytes.bytes == strlen(text) && !memcmp(bytes.data, text, bytes.bytes);
}

/* ---- Reading ---- */

TEST(shard_groups_members_by_the_path_up_to_the_first_dot)
{
    static tar_text tar;
    put(&tar, "./", '5', "");
    put(&tar, "./x/1.JPG", '0', "one");
    put(&tar, "./x/1.txt", 0, "first");
    put(&tar, "./x/1.2.txt", '0', "second");
    put(&tar, "./x/1.cls", '0', "7");
    put(&tar, "./x.y/1.txt", '0', "other");
    put(&tar, "./x.y/link", '2', "");
    put(&tar, "./x.y/._1.txt", '0', "no key");
    put(&tar, "./x.y/README", '0', "no key either");
    put(&tar, "./x.y/1.json", '0', "{}");
    put(&tar, "z.png", '0', "two");
    put(&tar, "z.left.png", '0', "three");
    put(&tar, "z.right.png", '0', "four");
    put_end(&tar);
    vlm_shards *shards = open_tar(&tar);
    vlm_sample sample;
    vlmoe_error error = {0};
    CHECK_INT(vlm_shards_count(shards), 3);
    CHECK_STATUS(vlm_shards_get(shards, 0, &sample, NULL), VLMOE_OK);
    CHECK_TEXT(sample.key, "./x/1");
    CHECK(is(sample.image, "one") && is(sample.texts[0], "first") && is(sample.texts[1], "second"));
    CHECK(sample.n_texts == 2 && sample.n_others == 1 && !sample.json.data);
    CHECK_INT(sample.offset, 512);
    CHECK_STATUS(vlm_shards_get(shards, 1, &sample, NULL), VLMOE_OK);
    CHECK_TEXT(sample.key, "./x.y/1");
    CHECK(is(sample.texts[0], "other") && is(sample.json, "{}") && !sample.image.data);
    CHECK_STATUS(vlm_shards_get(shards, 2, &sample, NULL), VLMOE_OK);
    CHECK(is(sample.image, "two") && is(sample.image2, "three"));
    CHECK_INT(sample.n_others, 1); /* a third image is no image */
    CHECK_STATUS(vlm_shards_get(shards, 3, &sample, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "sample 3 of 3");
    CHECK_STATUS(vlm_shards_get(shards, -1, &sample, NULL), VLMOE_E_ARG);
    vlm_shards_close(shards);
}

TEST(shard_reads_pax_gnu_and_prefixed_names)
{
    static tar_text tar;
    char long_name[301] = "";
    memset(long_name, 'n', 300);
    memcpy(long_name + 296, ".txt", 4);
    put(&tar, "pax_global_header", 'g', "20 comment=whatever\n");
    put(&tar, "PaxHeaders/1", 'x',
        "26 path=r\xc3\xa9pertoire/k.txt\n"
        "9 size=3\n");
    unsigned char *block = put(&tar, "short.txt", '0', "abc");
    memcpy(block + 124, "00000000077", 12); /* the pax size counts */
    put_sum(block);
    put(&tar, "././@LongLink", 'L', long_name);
    put(&tar, "nnn", '0', "long");
    block = put(&tar, "1.txt", '0', "prefixed");
    memcpy(block + 345, "folder", 6);
    put_sum(block);
    block = put(&tar, "2.txt", '0', "binary size");
    memset(block + 124, 0, 12);
    block[124] = 0x80, block[135] = 11;
    put_sum(block);
    put_end(&tar);
    vlm_shards *shards = open_tar(&tar);
    vlm_sample sample;
    CHECK_INT(vlm_shards_count(shards), 4);
    CHECK_STATUS(vlm_shards_get(shards, 0, &sample, NULL), VLMOE_OK);
    CHECK_TEXT(sample.key, "r\xc3\xa9pertoire/k");
    CHECK(is(sample.texts[0], "abc") && sample.offset == 0);
    CHECK_STATUS(vlm_shards_get(shards, 1, &sample, NULL), VLMOE_OK);
    CHECK(strlen(sample.key) == 296 && is(sample.texts[0], "long"));
    CHECK_STATUS(vlm_shards_get(shards, 2, &sample, NULL), VLMOE_OK);
    CHECK_TEXT(sample.key, "folder/1");
    CHECK_STATUS(vlm_shards_get(shards, 3, &sample, NULL), VLMOE_OK);
    CHECK(is(sample.texts[0], "binary size"));
    vlm_shards_close(shards);
}

/* A tar must be refused with a text that has these words. */
static void check_bad(const tar_text *tar, size_t bytes, vlmoe_status want, const char *words)
{
    vlm_shards *shards = NULL;
    vlmoe_error error;
    save(path_of("bad.tar"), tar->data, bytes);
    CHECK_STATUS_E(open_one(path_of("bad.tar"), &shards, &error), want, &error);
    CHECK(!shards);
    CHECK_HAS(error.text, "bad.tar");
    CHECK_HAS(error.text, words);
}

TEST(shard_cut_at_any_block_is_an_error)
{
    static tar_text tar;
    put(&tar, "x", 'x', "16 path=a/b.png\n");
    put(&tar, "b.png", '0', "image");
    put(&tar, "c.txt", '0', "text");
    put_end(&tar);
    for (size_t bytes = 0; bytes < tar.bytes; bytes += 256)
        check_bad(&tar, bytes, VLMOE_E_FORMAT, "cut");
    tar.bytes += 8192; /* padding of zeros is fine, anything else is not */
    vlm_shards_close(open_tar(&tar));
    tar.data[tar.bytes - 1] = 1;
    check_bad(&tar, tar.bytes, VLMOE_E_FORMAT, "data behind the end marker at byte 3072");
}

TEST(shard_damage_is_named_with_its_offset)
{
    static tar_text tar;
    put(&tar, "a.txt", '0', "text");
    size_t at = tar.bytes;
    put(&tar, "b.txt", '0', "text");
    put_end(&tar);
    for (size_t i = 0; i < 512; i++) { /* any flipped bit of a header */
        tar.data[at + i] ^= 0x10;
        if (i < 148 || i >= 156)
            check_bad(&tar, tar.bytes, VLMOE_E_FORMAT, "checksum is wrong) at byte 1024");
        tar.data[at + i] ^= 0x10;
    }
    memcpy(tar.data + at + 124, "77777777777", 12);
    put_sum(tar.data + at);
    check_bad(&tar, tar.bytes, VLMOE_E_FORMAT, "the member at byte 1024 has 8589934591 bytes");
    memset(tar.data + at + 124, 0xff, 12);
    put_sum(tar.data + at);
    check_bad(&tar, tar.bytes, VLMOE_E_FORMAT, "size is not a number at byte 1024");
    tar.data[at + 156] = 'S';
    memcpy(tar.data + at + 124, "00000000004", 12);
    put_sum(tar.data + at);
    check_bad(&tar, tar.bytes, VLMOE_E_UNSUPPORTED, "sparse");
}

TEST(shard_broken_pax_records_are_errors)
{
    const char *const records[] = {
        "x",           "9999999 path=a\n", "3 \n",         "12 path=abcd", "7 path\n",
        " 9 path=a\n", "12 size=-123\n",   "10 size=\n\n", "0 path=a\n",   "9 path=\0\n"};
    for (int i = 0; i < VLM_COUNT(records); i++) {
        static tar_text tar;
        memset(&tar, 0, sizeof tar);
        put(&tar, "x", 'x', records[i]);
        put(&tar, "b.png", '0', "image");
        put_end(&tar);
        check_bad(&tar, tar.bytes, VLMOE_E_FORMAT, "");
    }
    static tar_text tar;
    put(&tar, "x", 'x', "9 path=a\n");
    put_end(&tar);
    check_bad(&tar, tar.bytes, VLMOE_E_FORMAT, "without its member");
}

/* ---- Writing ---- */

static vlm_bytes bytes_of(const char *text)
{
    return (vlm_bytes){(const unsigned char *)text, strlen(text)};
}

/* Ten samples of 4.5 KiB (image 1.5, texts 2, json 1) in shards of 10 KiB: two a shard. */
static void write_set(const char *dir)
{
    char *first_tar = vlm_path_join(dir, "00000.tar");
    static char image[600] = "\xff\xd8\xff";
    memset(image + 3, 'i', 500);
    vlm_shard_writer *writer = NULL;
    vlm_shard_options options = {10 * 1024, 4};
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_shard_writer_open(dir, &options, &writer, &error), VLMOE_OK, &error);
    for (int i = 0; i < 10; i++) {
        char text[32];
        vlm_sample sample = {.image = bytes_of(image), .n_texts = 2, .json = bytes_of("{\"a\":1}")};
        snprintf(text, sizeof text, "caption %d", i);
        sample.texts[0] = bytes_of(text);
        sample.texts[1] = bytes_of("another");
        if (i == 7) snprintf(sample.key, sizeof sample.key, "folder.x/seven");
        CHECK_STATUS_E(vlm_shard_writer_put(writer, &sample, &error), VLMOE_OK, &error);
        CHECK_INT(vlm_shard_writer_count(writer), i + 1);
        CHECK(!vlm_path_exists(first_tar)); /* all or nothing */
    }
    CHECK_STATUS_E(vlm_shard_writer_close(writer, &error), VLMOE_OK, &error);
    CHECK(vlm_path_exists(first_tar));
    vlm_free(first_tar);
}

static void check_set(vlm_shards *shards, int64_t per_shard)
{
    vlm_sample sample;
    vlmoe_error error = {0};
    CHECK_INT(vlm_shards_count(shards), 10);
    for (int64_t i = 9; i >= 0; i--) {
        char text[32];
        CHECK_STATUS_E(vlm_shards_get(shards, i, &sample, &error), VLMOE_OK, &error);
        snprintf(text, sizeof text, "caption %d", (int)i);
        CHECK(is(sample.texts[0], text) && is(sample.texts[1], "another") && sample.n_texts == 2);
        CHECK(is(sample.json, "{\"a\":1}") && sample.image.bytes == 503);
        snprintf(text, sizeof text, i == 7 ? "folder.x/seven" : "%09d", (int)i);
        CHECK_TEXT(sample.key, text);
    }
    for (int64_t k = 0; k < vlm_shards_n_files(shards); k++) {
        vlm_shard_info info = vlm_shards_file(shards, k);
        CHECK(info.first_sample == k * per_shard && info.n_samples == per_shard);
        CHECK_STATUS_E(vlm_shards_rehash(shards, k, &error), VLMOE_OK, &error);
    }
}

TEST(shard_writer_and_reader_agree_with_and_without_index)
{
    vlm_shards *shards = NULL;
    vlmoe_error error;
    write_set(path_of("set"));
    CHECK(!vlm_path_exists(path_of("set/00000.tar.part")));
    CHECK_STATUS_E(open_one(path_of("set"), &shards, &error), VLMOE_OK, &error);
    CHECK_INT(vlm_shards_n_files(shards), 5);
    CHECK(vlm_shards_file(shards, 0).has_index);
    check_set(shards, 2);
    uint64_t id = vlm_shards_id(shards);
    vlm_shards_close(shards);

    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "set/0000%d.tar.idx", i);
        CHECK(!remove(path_of(name)));
    }
    CHECK_STATUS_E(open_one(path_of("set"), &shards, &error), VLMOE_OK, &error);
    CHECK(!vlm_shards_file(shards, 0).has_index);
    check_set(shards, 2);
    CHECK(vlm_shards_id(shards) != id); /* hashes are part of it */
    vlm_shards_close(shards);

    write_set(path_of("again"));
    CHECK_STATUS_E(open_one(path_of("again"), &shards, &error), VLMOE_OK, &error);
    CHECK(vlm_shards_id(shards) == id); /* the same bytes in another folder */
    vlm_shards_close(shards);
}

TEST(shard_index_that_does_not_fit_is_an_error)
{
    vlm_shards *shards = NULL;
    vlmoe_error error;
    char *data = NULL;
    size_t bytes = 0;
    write_set(path_of("fit"));
    char tar[512], index[512];
    snprintf(tar, sizeof tar, "%s", path_of("fit/00000.tar"));
    snprintf(index, sizeof index, "%s", path_of("fit/00000.tar.idx"));

    CHECK_STATUS(vlm_file_read(index, 1 << 20, &data, &bytes, NULL), VLMOE_OK);
    CHECK_INT(bytes, 40 + 3 * 8 + 8);
    for (size_t i = 0; i < bytes * 8; i++) { /* any flipped bit */
        data[i / 8] ^= (char)(1 << i % 8);
        save(index, data, bytes);
        CHECK(open_one(tar, &shards, &error) != VLMOE_OK && !shards);
        CHECK_HAS(error.text, "00000.tar.idx");
        data[i / 8] ^= (char)(1 << i % 8);
    }
    for (size_t n = 0; n < bytes; n++) { /* any cut */
        save(index, data, n);
        CHECK_STATUS(open_one(tar, &shards, &error), VLMOE_E_FORMAT);
    }
    data[8] = 2;
    save(index, data, bytes);
    CHECK_STATUS(open_one(tar, &shards, &error), VLMOE_E_VERSION);
    data[8] = 1;
    save(index, data, bytes);
    vlm_free(data);

    CHECK_STATUS(vlm_file_read(tar, 1 << 20, &data, &bytes, NULL), VLMOE_OK);
    data[600] ^= 1; /* inside an image: seen by the checksum alone */
    save(tar, data, bytes);
    CHECK_STATUS_E(open_one(tar, &shards, &error), VLMOE_OK, &error);
    CHECK_STATUS(vlm_shards_rehash(shards, 0, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "its index says");
    vlm_shards_close(shards);
    shards = NULL;
    save(tar, data, bytes - 512);
    CHECK_STATUS(open_one(tar, &shards, &error), VLMOE_E_FORMAT);
    char words[128];
    snprintf(words, sizeof words, "made for a tar of %zu bytes, but the tar has %zu", bytes,
             bytes - 512);
    CHECK_HAS(error.text, words);
    vlm_free(data);
}

TEST(shard_index_with_wrong_offsets_is_caught_on_reading)
{
    static tar_text tar;
    put(&tar, "a.txt", '0', "text");
    put(&tar, "b.txt", '0', "text");
    put_end(&tar);
    save(path_of("wrong.tar"), tar.data, tar.bytes);
    const uint64_t cases[3][2] = {{0, 2048}, {0, 512}, {512, 1024}};
    for (int i = 0; i < 3; i++) { /* two samples in one, half a sample, data for a header */
        uint64_t words[9] = {0, 1, tar.bytes, 0, 1, cases[i][0], cases[i][1]};
        memcpy(words, "VLMSHIDX", 8);
        words[7] = vlm_hash64(words, 56);
        save(path_of("wrong.tar.idx"), words, 64);
        vlm_shards *shards = NULL;
        vlmoe_error error;
        vlm_sample sample;
        CHECK_STATUS_E(open_one(path_of("wrong.tar"), &shards, &error), VLMOE_OK, &error);
        CHECK_STATUS_E(vlm_shards_get(shards, 0, &sample, &error), VLMOE_E_FORMAT, &error);
        CHECK_HAS(error.text, "wrong.tar");
        vlm_shards_close(shards);
    }
}

TEST(shard_writer_refuses_what_would_not_come_back)
{
    vlm_shard_writer *writer = NULL;
    vlmoe_error error = {0};
    write_set(path_of("full"));
    CHECK_STATUS(vlm_shard_writer_open(path_of("full"), NULL, &writer, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "00000.tar");
    CHECK_STATUS_E(vlm_shard_writer_open(path_of("new"), NULL, &writer, NULL), VLMOE_OK, &error);
    vlm_sample sample = {.n_texts = 0};
    CHECK_STATUS(vlm_shard_writer_put(writer, &sample, NULL), VLMOE_E_ARG);
    sample.image = bytes_of("what is this?");
    CHECK_STATUS(vlm_shard_writer_put(writer, &sample, NULL), VLMOE_E_ARG);
    sample = (vlm_sample){.n_texts = 1};
    sample.texts[0] = bytes_of("");
    const char *const keys[] = {"a.b", "/a", "a/", "a/.b"};
    for (int i = 0; i < VLM_COUNT(keys); i++) {
        snprintf(sample.key, sizeof sample.key, "%s", keys[i]);
        CHECK_STATUS(vlm_shard_writer_put(writer, &sample, NULL), VLMOE_E_ARG);
    }
    memset(sample.key, 'k', 81);
    CHECK_STATUS(vlm_shard_writer_put(writer, &sample, NULL), VLMOE_E_ARG);
    snprintf(sample.key, sizeof sample.key, "k");
    CHECK_STATUS(vlm_shard_writer_put(writer, &sample, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_shard_writer_put(writer, &sample, NULL), VLMOE_E_ARG);
    CHECK_INT(vlm_shard_writer_count(writer), 1);
    vlm_shard_writer_abandon(writer);
    char **names = NULL;
    size_t n = 1;
    CHECK_STATUS(vlm_dir_list(path_of("new"), &names, &n, NULL), VLMOE_OK);
    CHECK_INT(n, 0);
    vlm_names_free(names, n);
}

TEST(shard_folder_without_tars_and_missing_files_are_told)
{
    vlm_shards *shards = NULL;
    vlmoe_error error;
    CHECK_STATUS(vlm_dir_make(path_of("empty"), NULL), VLMOE_OK);
    CHECK_STATUS(open_one(path_of("empty"), &shards, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "no *.tar");
    CHECK_STATUS(open_one(path_of("nowhere.tar"), &shards, &error), VLMOE_E_IO);
    CHECK_HAS(error.text, "nowhere.tar");
    CHECK_STATUS(vlm_shards_open(NULL, 0, &shards, NULL), VLMOE_E_ARG);
}

TEST(shard_folder_of_a_killed_writer_is_no_set)
{
    vlm_shards *shards = NULL;
    vlm_shard_writer *writer = NULL;
    vlmoe_error error = {0};
    char whole[512];
    write_set(path_of("killed"));
    snprintf(whole, sizeof whole, "%s", path_of("killed/00003.tar"));
    CHECK(!rename(whole, path_of("killed/00003.tar.part")));
    CHECK_STATUS(open_one(path_of("killed"), &shards, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "killed holds 00003.tar.part: what wrote it did not come to its end");
    CHECK_STATUS(vlm_shard_writer_open(path_of("killed"), NULL, &writer, &error), VLMOE_E_ARG);
    CHECK(vlm_path_exists(path_of("killed/00003.tar.part"))); /* a folder with tars is left alone */
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "killed/0000%d.tar", i);
        CHECK((i == 3) == !!remove(path_of(name)));
    }
    save(path_of("killed/mine.tar.idx"), "", 0);
    write_set(path_of("killed"));
    CHECK(!vlm_path_exists(path_of("killed/00003.tar.part")));
    CHECK(vlm_path_exists(path_of("killed/mine.tar.idx")));
    CHECK_STATUS_E(open_one(path_of("killed"), &shards, &error), VLMOE_OK, &error);
    check_set(shards, 2);
    vlm_shards_close(shards);
}
