/* Readers of labelled sets without memory: each is run with its first request refused, then with its second, until it gets through. Every time
 * the reason is NOMEM with a text, rows before are those of a whole run, and as many blocks are in use as before. All requests of the process
 * pass here, those of cJSON, zlib and the C library too. */
#include "rows_fixture.h"

#ifdef __GLIBC__
#include <errno.h>
#include <stdlib.h>
#include "data_spm.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BELOW(name) __interceptor_##name /* the sanitizer's */
extern int __interceptor_posix_memalign(void **out, size_t align, size_t bytes);
#else
#define BELOW(name) __libc_##name
extern void *__libc_memalign(size_t align, size_t bytes);
#endif
extern void *BELOW(malloc)(size_t bytes);
extern void *BELOW(calloc)(size_t n, size_t bytes);
extern void *BELOW(realloc)(void *block, size_t bytes);
extern void BELOW(free)(void *block);

/* Of the whole process: other libraries find these before the C library's. */
#define OF_ALL __attribute__((visibility("default")))

static int refused;   /* this request from now on is refused, 1 = the next; 0 = none any more */
static bool own_only; /* of vlm_alloc's, which are for aligned memory; others are granted */
static int64_t n_blocks;

static bool refuses(bool is_own)
{
    if (!refused || (own_only && !is_own) || --refused) return false;
    errno = ENOMEM;
    return true;
}

static void *count(void *block)
{
    n_blocks += block != NULL;
    return block;
}

OF_ALL void *malloc(size_t bytes)
{
    return refuses(false) ? NULL : count(BELOW(malloc)(bytes));
}

OF_ALL void *calloc(size_t n, size_t bytes)
{
    return refuses(false) ? NULL : count(BELOW(calloc)(n, bytes));
}

OF_ALL void *realloc(void *block, size_t bytes)
{
    if (refuses(false)) return NULL;
    void *out = BELOW(realloc)(block, bytes);
    return block ? out : count(out);
}

OF_ALL int posix_memalign(void **out, size_t align, size_t bytes)
{
    if (refuses(true)) return ENOMEM;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const int number = BELOW(posix_memalign)(out, align, bytes);
#else
    *out = BELOW(memalign)(align, bytes);
    const int number = *out ? 0 : ENOMEM;
#endif
    if (!number) count(*out);
    return number;
}

OF_ALL void free(void *block)
{
    n_blocks -= block != NULL;
    BELOW(free)(block);
}

/* ---- a walk, and what it leaves ---- */

static vlm_row row;

/* Rows to rows_out, like rows_walk, with the n-th request refused. */
static vlmoe_status walk(const vlm_rows_options *options, int n)
{
    vlm_rows *rows = NULL;
    bool found = true;
    rows_out[0] = 0;
    rows_ledger = (vlm_ledger){.goes_on = true};
    rows_error = (vlmoe_error){0};
    refused = n;
    vlmoe_status st = vlm_rows_open(options, &rows_ledger, &rows, &rows_error);
    CHECK((st == VLMOE_OK) == (rows != NULL));
    while (!st && found) {
        st = vlm_rows_next(rows, &row, &found, &rows_error);
        if (!st && found) rows_say_row(&row);
    }
    vlm_row_free(&row);
    memset(&row, 0, sizeof row);
    vlm_rows_close(rows);
    return st;
}

/* What is counted twice, or under no name, has been counted by half. */
static void check_notes(const vlm_ledger *whole)
{
    for (int i = 0; i < VLM_NOTES; i++) {
        CHECK(rows_ledger.notes[i].n <= whole->notes[i].n);
        for (int k = 0; k < VLM_LEDGER_NAMES && k < rows_ledger.notes[i].n; k++)
            CHECK_TEXT(rows_ledger.notes[i].names[k], whole->notes[i].names[k]);
    }
}

static void check_walks(const vlm_rows_options *options)
{
    static char whole[sizeof rows_out];
    int n = 1;
    for (int i = 0; i < 2; i++) /* what the C library keeps is there after the first */
        CHECK_STATUS_E(walk(options, 0), VLMOE_OK, &rows_error);
    memcpy(whole, rows_out, sizeof whole);
    const vlm_ledger ledger = rows_ledger;
    const int64_t before = n_blocks;
    CHECK(whole[0] != 0);
    for (bool is_through = false; !is_through; n++) {
        const vlmoe_status st = walk(options, n);
        is_through = refused > 0;
        refused = 0;
        if (n_blocks != before)
            test_fail(__FILE__, __LINE__, "%s: request %d refused, %lld blocks are left",
                      options->format, n, (long long)(n_blocks - before));
        check_notes(&ledger);
        if (strncmp(rows_out, whole, strlen(rows_out)) != 0)
            test_fail(__FILE__, __LINE__, "%s: request %d refused, the rows are\n%sand were\n%s",
                      options->format, n, rows_out, whole);
        if (!st) CHECK_TEXT(rows_out, whole); /* something that can be done without */
        else if (st != VLMOE_E_NOMEM || rows_error.status != st || !rows_error.text[0])
            test_fail(__FILE__, __LINE__, "%s: request %d refused gives status %d: %s",
                      options->format, n, (int)st, rows_error.text);
        if (is_through) CHECK_STATUS(st, VLMOE_OK);
    }
    CHECK(n > 10); /* that many were refused */
}

TEST(rows_refuse_requests)
{
    void *block = &block;
    refused = 2;
    CHECK(posix_memalign(&block, 64, 100) == 0);
    free(block);
    CHECK(vlm_alloc(10) == NULL);
    CHECK_INT(refused, 0);
    vlm_free(vlm_alloc(10));
}

/* ---- the formats ---- */

#define ANSWERS            "\"answer_type\":\"other\",\"answers\":[{\"answer\":\"cat\"},{\"answer\":\"dog\"}]"
#define ANNOTATION(id)     "{\"question_id\":" id "," ANSWERS "}"
#define QUESTION(id, more) "{\"image_id\":7,\"question\":\"What?\",\"question_id\":" id more "}"

static void check_questions(const char *annotations)
{
    vlm_rows_options options = {.format = "vqav2"};
    options.in = rows_save(
        "q.json", "{\"data_subtype\":\"val2014\",\"questions\":[" QUESTION("71", "") "," QUESTION(
                      "\"x2\"", ",\"more\":[1,{}]") "," QUESTION("73", "") "]}");
    options.annotations = rows_save("a.json", annotations);
    options.labels = rows_save("answers.txt", "dog\ncat\n");
    options.images = rows_path("img");
    rows_save("img/val2014/COCO_val2014_000000000007.jpg", "here");
    check_walks(&options);
}

TEST(questions_in_order_without_memory)
{
    check_questions("{\"annotations\":[" ANNOTATION("71") "," ANNOTATION("\"x2\"") "," ANNOTATION(
        "73") "," ANNOTATION("74") "]}");
}

TEST(questions_out_of_order_without_memory)
{
    check_questions("{\"annotations\":[" ANNOTATION("71") "," ANNOTATION("73") "," ANNOTATION(
        "73") "," ANNOTATION("74") "]}");
}

TEST(statements_without_memory)
{
    vlm_rows_options options = {.format = "nlvr2", .images = rows_path("nl")};
    options.in = rows_save(
        "s.json", "{\"identifier\":\"dev-1-0-1\",\"sentence\":\"Both.\",\"label\":\"False\"}\n"
                  "{\"identifier\":\"dev-1-0-2\",\"sentence\":\"x\",\"label\":\"Maybe\"}\n"
                  "{\"identifier\":\"dev-1-0-1\",\"sentence\":\"Again.\"}\n"
                  "{\"identifier\":\"train-2-0\",\"sentence\":\"One.\",\"directory\":41}\n");
    rows_save("nl/images/train/41/train-2-img1.png", "");
    check_walks(&options);
}

TEST(captions_without_memory)
{
    vlm_rows_options options = {.format = "karpathy", .split = "train,restval"};
    options.images = rows_path("cap");
    options.in = rows_save(
        "k.json",
        "{\"dataset\":\"coco\",\"images\":["
        "{\"filename\":\"1.jpg\",\"imgid\":1,\"split\":\"train\",\"sentences\":[{\"raw\":\"A.\"}]},"
        "{\"filename\":\"2.jpg\",\"imgid\":2,\"split\":\"val\",\"sentences\":[{\"raw\":\"B.\"}]},"
        "{\"filepath\":\"flat\",\"filename\":\"3.jpg\",\"cocoid\":3,\"split\":\"restval\","
        "\"sentences\":[{\"raw\":\"C.\"},{\"raw\":\"D.\"}]},"
        "{\"filename\":\"4.jpg\",\"imgid\":4,\"split\":\"train\",\"sentences\":[]}]}");
    rows_save("cap/3.jpg", "");
    check_walks(&options);
}

TEST(folders_without_memory)
{
    vlm_rows_options options = {.format = "imagenet", .in = rows_path("val")};
    rows_save("val/n02/b.JPEG", "");
    rows_save("val/n02/a.png", "");
    rows_save("val/n10/c", "");
    rows_save("val/n01/.hidden", "");
    check_walks(&options);
    options.labels = rows_save("names.txt", "n10\nn01\n");
    check_walks(&options);
}

TEST(sentences_without_memory)
{
    vlm_rows_options options = {.format = "mnli"};
    options.in = rows_save(
        "dev_matched.jsonl",
        "{\"gold_label\":\"neutral\",\"pairID\":\"1n\",\"sentence1\":\"A\",\"sentence2\":\"B\"}\n"
        "{\"gold_label\":\"-\",\"pairID\":\"2e\",\"sentence1\":\"x\",\"sentence2\":\"y\"}\n"
        "{\"gold_label\":\"so\",\"pairID\":\"3e\",\"sentence1\":\"x\",\"sentence2\":\"y\"}\n");
    check_walks(&options);
    options.format = "glue";
    options.in = rows_save("dev.tsv", "index\tpairID\tgenre\tsentence1\tsentence2\tgold_label\n"
                                      "0\t1n\tslate\tA\tB\tneutral\n1\t2e\tslate\tC\tD\t-\n");
    check_walks(&options);
}

TEST(indices_without_memory)
{
    vlm_rows_options options = {.format = "beit3", .images = "img"};
    options.labels = rows_save("names.txt", "n01\nn02\n");
    options.in = rows_save("c.jsonl", "{\"image_path\":\"a.png\",\"label\":1}\n"
                                      "{\"image_path\":\"b.png\",\"label\":2}\n"
                                      "{\"image_path\":\"c.png\",\"label\":0}\n");
    check_walks(&options);
}

/* SentencePiece 0.1.97 does not survive a refusal of its own requests: protobuf's texts are torn down half made. */
TEST(token_ids_without_memory)
{
    const char *corpus = rows_save("corpus.txt", "a red ball\na blue ball\nthe red house\n");
    vlm_rows_options options = {.format = "beit3", .text_model = rows_path("text.model")};
    CHECK_STATUS_E(vlm_spm_train(&corpus, 1, 30, options.text_model, &rows_error), VLMOE_OK,
                   &rows_error);
    options.in = rows_save(
        "t.jsonl",
        "{\"image_path\":\"a.png\",\"image_id\":1,\"text_segment\":[8,9,3,12]}\n"
        "{\"image_path\":\"a.png\",\"image_id\":1,\"text_segment\":[10,11]}\n"
        "{\"image_path\":\"b.png\",\"image_id\":2,\"text_segment\":[12,13,14,15,16,17,18,7]}\n");
    own_only = true;
    check_walks(&options);
    own_only = false;
}

TEST(pictures_of_bytes_without_memory)
{
    const char images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};
    const char labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 9, 11};
    vlm_rows_options options = {.format = "idx"};
    vlmoe_error error = {0};
    options.in = rows_path("images");
    options.annotations = rows_path("labels");
    CHECK_STATUS_E(vlm_file_replace(options.in, images, sizeof images, &error), VLMOE_OK, &error);
    CHECK_STATUS_E(vlm_file_replace(options.annotations, labels, sizeof labels, &error), VLMOE_OK,
                   &error);
    check_walks(&options);
}
#else
TEST(memory_is_refused_with_the_gnu_c_library_only)
{
    CHECK(true);
}
#endif
