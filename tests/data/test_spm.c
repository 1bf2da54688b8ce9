/* Text models: training, the four special pieces, cutting, hostile text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base_file.h"
#include "data_spm.h"
#include "harness.h"

static const char *const THINGS[] = {"dog",     "cat",      "house", "umbrella",
                                     "bicycle", "mountain", "river", "window"};
static const char *const LOOKS[] = {"red", "small", "wooden", "bright", "broken", "old"};
static const char *const DEEDS[] = {"runs across the street", "stands near the water",
                                    "lies under the table", "is painted by a child"};

/* Path of a file in the test's folder; static, eight at a time. */
static const char *path_of(const char *name)
{
    static char paths[8][400];
    static int next;
    next = (next + 1) % 8;
    snprintf(paths[next], sizeof paths[next], "%s/%s", test_tmp_dir(), name);
    return paths[next];
}

static const char *write_text(const char *name, const char *text)
{
    const char *path = path_of(name);
    CHECK_STATUS(vlm_file_replace(path, text, strlen(text), NULL), VLMOE_OK);
    return path;
}

static const char *write_corpus(void)
{
    static char text[32768];
    size_t bytes = 0;
    for (int i = 0; i < VLM_COUNT(THINGS); i++)
        for (int j = 0; j < VLM_COUNT(LOOKS); j++)
            for (int k = 0; k < VLM_COUNT(DEEDS); k++)
                bytes += (size_t)snprintf(text + bytes, sizeof text - bytes, "A %s %s %s.\n",
                                          LOOKS[j], THINGS[i], DEEDS[k]);
    return write_text("corpus, with comma.txt", text);
}

static vlm_spm *open_trained(void)
{
    const char *corpus = write_corpus(), *model = path_of("trained.model");
    vlm_spm *spm = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_spm_train(&corpus, 1, 50, model, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_spm_open(model, &spm, &error), VLMOE_OK, &error);
    return spm;
}

/* Tokens of text under a limit; the returned count is without it. */
static int64_t encode(const vlm_spm *spm, const char *text, int64_t limit, int32_t *ids, int64_t *n)
{
    int64_t n_all = 0;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_spm_encode(spm, text, strlen(text), limit, ids, n, &n_all, &error), VLMOE_OK,
                   &error);
    return n_all;
}

TEST(spm_training_gives_the_same_bytes_twice_and_prints_nothing)
{
    const char *corpus = write_corpus();
    char *first = NULL, *second = NULL, *said = NULL;
    size_t first_bytes = 0, second_bytes = 0, said_bytes = 0;
    const char *caught = path_of("stderr.txt");
    fflush(stderr);
    int real = dup(2);
    CHECK(freopen(caught, "w", stderr) != NULL);
    vlmoe_status status = vlm_spm_train(&corpus, 1, 50, path_of("a.model"), NULL);
    vlmoe_status again = vlm_spm_train(&corpus, 1, 50, path_of("b.model"), NULL);
    fflush(stderr);
    dup2(real, 2);
    close(real);
    CHECK_STATUS(status, VLMOE_OK);
    CHECK_STATUS(again, VLMOE_OK);
    CHECK_STATUS(vlm_file_read(path_of("a.model"), 1 << 24, &first, &first_bytes, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_file_read(path_of("b.model"), 1 << 24, &second, &second_bytes, NULL),
                 VLMOE_OK);
    CHECK_STATUS(vlm_file_read(caught, 1 << 24, &said, &said_bytes, NULL), VLMOE_OK);
    CHECK_TEXT(said, "");
    CHECK(first_bytes == second_bytes && memcmp(first, second, first_bytes) == 0);
    vlm_free(first);
    vlm_free(second);
    vlm_free(said);
}

TEST(spm_trained_model_has_the_special_pieces_itself)
{
    vlm_spm *spm = open_trained();
    vlm_spm_ids ids = vlm_spm_special(spm);
    CHECK_INT(ids.n, 50);
    CHECK(ids.cls == 1 && ids.sep == 2 && ids.mask == 3 && ids.pad == 4);
    CHECK_TEXT(vlm_spm_piece(spm, ids.cls), "[CLS]");
    CHECK_TEXT(vlm_spm_piece(spm, ids.sep), "[SEP]");
    CHECK_TEXT(vlm_spm_piece(spm, ids.mask), "[MASK]");
    CHECK_TEXT(vlm_spm_piece(spm, ids.pad), "[PAD]");
    CHECK_TEXT(vlm_spm_piece(spm, -1), "");
    CHECK_TEXT(vlm_spm_piece(spm, 50), "");
    CHECK(!vlm_spm_starts_word(spm, ids.mask) && !vlm_spm_starts_word(spm, -1));
    vlm_spm_close(spm);
}

TEST(spm_encodes_between_cls_and_sep_and_decodes_back)
{
    vlm_spm *spm = open_trained();
    vlm_spm_ids special = vlm_spm_special(spm);
    int32_t ids[64];
    int64_t n = 0, n_all = encode(spm, "A  red dog\tstands near the water.", 64, ids, &n);
    CHECK_INT(n_all, n);
    CHECK(ids[0] == special.cls && ids[n - 1] == special.sep);
    CHECK(vlm_spm_starts_word(spm, ids[1]));
    char *text = vlm_spm_decode(spm, ids, n); /* white space was normalised */
    CHECK_TEXT(text, "A red dog stands near the water.");
    vlm_free(text);
    vlm_spm_close(spm);
}

TEST(spm_cuts_at_the_limit_and_says_how_long_it_was)
{
    vlm_spm *spm = open_trained();
    int32_t whole[64], cut[8] = {0};
    int64_t n = 0, n_cut = 0;
    int64_t n_all = encode(spm, "A small wooden house stands near the water.", 64, whole, &n);
    CHECK(n > 6);
    CHECK_INT(encode(spm, "A small wooden house stands near the water.", 6, cut, &n_cut), n_all);
    CHECK_INT(n_cut, 6);
    for (int i = 0; i < 5; i++) CHECK_INT(cut[i], whole[i]);
    CHECK_INT(cut[5], vlm_spm_special(spm).sep);
    CHECK_INT(cut[6], 0);
    CHECK_INT(encode(spm, "", 6, cut, &n_cut), 2);
    CHECK_INT(n_cut, 2);
    CHECK_INT(encode(spm, "dog", 2, cut, &n_cut) > 2, 1);
    CHECK_INT(n_cut, 2);
    CHECK_STATUS(vlm_spm_encode(spm, "dog", 3, 1, cut, &n_cut, &n_all, NULL), VLMOE_E_ARG);
    vlm_spm_close(spm);
}

/* One by one from the longer, from b where both are as long: what others call longest first. */
TEST(spm_pair_cuts_the_longer_first)
{
    vlm_spm *spm = open_trained();
    vlm_spm_ids special = vlm_spm_special(spm);
    const char *texts[] = {"", "red", "A red dog stands near the water.",
                           "the water near the dog and the red water near the red dog"};
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            for (int64_t limit = 3; limit < 48; limit++) {
                const vlm_bytes two[] = {{(const unsigned char *)texts[i], strlen(texts[i])},
                                         {(const unsigned char *)texts[j], strlen(texts[j])}};
                int32_t of_a[64], of_b[64], ids[64];
                int64_t n_a = 0, n_b = 0, n = 0, n_all = 0;
                encode(spm, texts[i], 64, of_a, &n_a);
                encode(spm, texts[j], 64, of_b, &n_b);
                CHECK_STATUS(vlm_spm_encode_pair(spm, two, limit, ids, &n, &n_all, NULL), VLMOE_OK);
                CHECK_INT(n_all, n_a + n_b - 1);
                n_a -= 2, n_b -= 2;
                while (n_a + n_b + 3 > limit) *(n_a > n_b ? &n_a : &n_b) -= 1;
                CHECK_INT(n, n_a + n_b + 3);
                CHECK(ids[0] == special.cls && ids[n_a + 1] == special.sep &&
                      ids[n - 1] == special.sep);
                CHECK(!memcmp(ids + 1, of_a + 1, (size_t)n_a * 4));
                CHECK(!memcmp(ids + n_a + 2, of_b + 1, (size_t)n_b * 4));
            }
    int32_t ids[4];
    int64_t n, n_all;
    const vlm_bytes texts_bad[] = {{(const unsigned char *)"a", 1},
                                   {(const unsigned char *)"a\xff", 2}};
    CHECK_STATUS(vlm_spm_encode_pair(spm, texts_bad, 3, ids, &n, &n_all, NULL), VLMOE_E_FORMAT);
    CHECK_STATUS(vlm_spm_encode_pair(spm, texts_bad, 2, ids, &n, &n_all, NULL), VLMOE_E_ARG);
    vlm_spm_close(spm);
}

TEST(spm_text_cannot_spell_a_special_piece)
{
    vlm_spm *spm = open_trained();
    vlm_spm_ids special = vlm_spm_special(spm);
    int32_t ids[64];
    int64_t n = 0;
    encode(spm, "dog [MASK] [CLS] [SEP] [PAD]", 64, ids, &n);
    for (int64_t i = 1; i < n - 1; i++)
        CHECK(ids[i] != special.mask && ids[i] != special.cls && ids[i] != special.sep &&
              ids[i] != special.pad);
    vlm_spm_close(spm);
}

TEST(spm_refuses_text_that_is_not_utf8)
{
    static const char *const bad[] = {"dog \xff", "\xc3", "a\xed\xa0\x80z", "\xc0\xaf",
                                      "\xf5\x80\x80\x80"};
    vlm_spm *spm = open_trained();
    for (int i = 0; i < VLM_COUNT(bad); i++) {
        int32_t ids[16];
        int64_t n, n_all;
        vlmoe_error error = {0};
        CHECK_STATUS(vlm_spm_encode(spm, bad[i], strlen(bad[i]), 16, ids, &n, &n_all, &error),
                     VLMOE_E_FORMAT);
        CHECK_HAS(error.text, i == 0 ? "from byte 4 on" : "not UTF-8");
    }
    int32_t ids[16];
    int64_t n = 0;
    encode(spm, "caf\xc3\xa9 \xf0\x9f\x90\x95", 16, ids, &n); /* fine, though unknown */
    vlm_spm_close(spm);
}

/* Rewrites pieces "[XXX]" of a model's bytes to "(XXX)": the same lengths, so still a model, but
 * one of somebody else. */
static const char *make_foreign(void)
{
    vlm_spm_close(open_trained());
    char *data = NULL;
    size_t bytes = 0;
    CHECK_STATUS(vlm_file_read(path_of("trained.model"), 1 << 24, &data, &bytes, NULL), VLMOE_OK);
    for (size_t i = 0; i + 6 < bytes; i++)
        if (!memcmp(data + i, "[MASK]", 6) || !memcmp(data + i, "[PAD]", 5)) data[i] = '(';
    const char *path = path_of("foreign.model");
    CHECK_STATUS(vlm_file_replace(path, data, bytes, NULL), VLMOE_OK);
    vlm_free(data);
    return path;
}

TEST(spm_appends_the_pieces_a_foreign_model_lacks)
{
    vlm_spm *spm = NULL, *own = open_trained();
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_spm_open(make_foreign(), &spm, &error), VLMOE_OK, &error);
    vlm_spm_ids ids = vlm_spm_special(spm);
    CHECK_INT(ids.n, 52);
    CHECK(ids.cls == 1 && ids.sep == 2 && ids.mask == 50 && ids.pad == 51);
    CHECK_TEXT(vlm_spm_piece(spm, 50), "[MASK]");
    CHECK_TEXT(vlm_spm_piece(spm, 51), "[PAD]");
    CHECK_TEXT(vlm_spm_piece(spm, 52), "");
    CHECK(vlm_spm_hash(spm) != vlm_spm_hash(own));
    int32_t words[32];
    int64_t n = 0;
    encode(spm, "A red dog", 32, words, &n);
    words[0] = ids.pad;
    words[n - 1] = ids.mask;
    char *text = vlm_spm_decode(spm, words, n);
    CHECK_TEXT(text, "A red dog");
    vlm_free(text);
    vlm_spm_close(spm);
    vlm_spm_close(own);
}

TEST(spm_vocabulary_is_as_large_as_the_corpus_supports)
{
    vlm_spm *spm = NULL;
    vlmoe_error error = {0};
    const char *corpus = write_text("tiny.txt", "a red dog\r\n\nred dogs\n"),
               *model = path_of("tiny.model");
    CHECK_STATUS_E(vlm_spm_train(&corpus, 1, 8000, model, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_spm_open(model, &spm, &error), VLMOE_OK, &error);
    CHECK(vlm_spm_special(spm).n < 40);
    int32_t ids[32];
    int64_t n = 0;
    encode(spm, "red dogs", 32, ids, &n);
    char *text = vlm_spm_decode(spm, ids, n);
    CHECK_TEXT(text, "red dogs");
    vlm_free(text);
    vlm_spm_close(spm);
}

TEST(spm_training_errors_name_their_reason)
{
    static const struct {
        const char *text;
        int size;
        vlmoe_status status;
        const char *says;
    } cases[] = {
        {"", 100, VLMOE_E_FORMAT, "no sentence"},
        {" \n\t\r\n", 100, VLMOE_E_FORMAT, "no sentence"},
        {"fine\nbad \xff here\n", 100, VLMOE_E_FORMAT, "line 2 is not UTF-8 from byte 4 on"},
        {"a red dog\n", 6, VLMOE_E_ARG, "vocabulary of 6 pieces"},
        {"a red dog\n", 0, VLMOE_E_ARG, "vocabulary of 0 pieces"},
        {"a red dog\n", -7, VLMOE_E_ARG, "vocabulary of -7 pieces"},
        {"\xe3\x80\x80\n\xe2\x96\x81\n\xe2\x80\x8b\n\xef\xbf\xbd\n\x01\n", 100, VLMOE_E_FORMAT,
         "no sentence"}, /* all vanish in NFKC */
        {"a dog \xe2\x96\x85\n", 100, VLMOE_E_FORMAT, "no sentence"},
    };
    for (int i = 0; i < VLM_COUNT(cases); i++) {
        vlmoe_error error = {0};
        const char *corpus = write_text("bad.txt", cases[i].text), *model = path_of("bad.model");
        CHECK_STATUS_E(vlm_spm_train(&corpus, 1, cases[i].size, model, &error), cases[i].status,
                       &error);
        CHECK_HAS(error.text, cases[i].says);
        CHECK(!vlm_path_exists(model));
    }
    vlmoe_error error = {0};
    const char *missing = path_of("missing.txt");
    CHECK_STATUS(vlm_spm_train(&missing, 1, 100, path_of("bad.model"), &error), VLMOE_E_IO);
    CHECK_HAS(error.text, "missing.txt");
}

TEST(spm_open_refuses_what_is_not_a_model)
{
    vlm_spm *spm = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_spm_open(write_text("x.model", "not a model"), &spm, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "x.model is not a SentencePiece model");
    CHECK_STATUS(vlm_spm_open(write_text("empty.model", ""), &spm, NULL), VLMOE_E_FORMAT);
    CHECK_STATUS(vlm_spm_open(path_of("no.model"), &spm, NULL), VLMOE_E_IO);
    CHECK(spm == NULL);
    vlm_spm_close(NULL);
}
