/* Checkpoint folders: whole or absent, damage is named, history is kept as asked. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base_file.h"
#include "ckpt_dir.h"
#include "harness.h"

/* A fresh parent folder per test. */
static char *new_parent(const char *name)
{
    return vlm_path_join(test_tmp_dir(), name);
}

static void put(const char *dir, const char *name, const char *content)
{
    char *path = vlm_path_join(dir, name);
    CHECK_STATUS(vlm_file_replace(path, content, strlen(content), NULL), VLMOE_OK);
    vlm_free(path);
}

static bool exists(const char *dir, const char *name)
{
    char *path = vlm_path_join(dir, name);
    bool yes = vlm_path_exists(path);
    vlm_free(path);
    return yes;
}

static void check_file(const char *dir, const char *name, const char *want)
{
    char *path = vlm_path_join(dir, name), *text = NULL;
    size_t bytes;
    CHECK_STATUS(vlm_file_read(path, 1000, &text, &bytes, NULL), VLMOE_OK);
    CHECK_TEXT(text, want);
    vlm_free(text);
    vlm_free(path);
}

/* A checkpoint with two files; the content of one is given. */
static void write_checkpoint(const char *parent, const char *name, const char *content)
{
    vlm_ckpt_writer *writer = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_ckpt_begin(parent, name, &writer, &error), VLMOE_OK, &error);
    put(vlm_ckpt_folder(writer), "weights", content);
    put(vlm_ckpt_folder(writer), "config.json", "{}");
    CHECK_STATUS_E(vlm_ckpt_commit(writer, &error), VLMOE_OK, &error);
}

static vlmoe_status open_checkpoint(const char *parent, const char *name, bool hashes,
                                    vlmoe_error *error)
{
    char *dir = vlm_path_join(parent, name);
    vlm_ckpt *ckpt = NULL;
    vlmoe_status status = vlm_ckpt_open(dir, hashes, &ckpt, error);
    vlm_ckpt_close(ckpt);
    vlm_free(dir);
    return status;
}

static size_t count_entries(const char *dir)
{
    char **names;
    size_t n;
    CHECK_STATUS(vlm_dir_list(dir, &names, &n, NULL), VLMOE_OK);
    vlm_names_free(names, n);
    return n;
}

TEST(a_committed_checkpoint_opens_and_lists_its_files)
{
    char *parent = new_parent("ok/deep");
    write_checkpoint(parent, "step-00000001", "abc");
    CHECK_INT(count_entries(parent), 1);
    char *dir = vlm_path_join(parent, "step-00000001");
    vlm_ckpt *ckpt = NULL;
    CHECK_STATUS(vlm_ckpt_open(dir, true, &ckpt, NULL), VLMOE_OK);
    CHECK_INT(vlm_ckpt_count(ckpt), 2);
    CHECK_TEXT(vlm_ckpt_name(ckpt, 0), "config.json");
    CHECK_TEXT(vlm_ckpt_name(ckpt, 1), "weights");
    CHECK_HAS(vlm_ckpt_path(ckpt, "weights"), "step-00000001/weights");
    CHECK(vlm_ckpt_path(ckpt, "checksums.json") == NULL);
    vlm_ckpt_close(ckpt);
    vlm_ckpt_close(NULL);
    /* The digits are XXH3-64 of "{}" and "abc" by libxxhash called from Python. */
    check_file(dir, "checksums.json",
               "{\"format\": 1, \"files\": [\n"
               "  {\"name\": \"config.json\", \"bytes\": 2, \"xxh3\": \"1349cde127705c16\"},\n"
               "  {\"name\": \"weights\", \"bytes\": 3, \"xxh3\": \"78af5f94892f3950\"}\n]}\n");
    vlm_free(dir);
    vlm_free(parent);
}

TEST(a_flipped_byte_is_named_with_both_checksums)
{
    char *parent = new_parent("flip"), *dir = vlm_path_join(parent, "x");
    write_checkpoint(parent, "x", "abc");
    char *path = vlm_path_join(dir, "weights");
    FILE *file = fopen(path, "r+");
    fputc('b', file);
    fclose(file);
    vlmoe_error error = {0};
    CHECK_STATUS(open_checkpoint(parent, "x", false, &error), VLMOE_OK); /* the size is right */
    CHECK_STATUS(open_checkpoint(parent, "x", true, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "x/weights is damaged: its checksum is");
    CHECK_HAS(error.text, "expected 78af5f94892f3950");
    vlm_free(path);
    vlm_free(dir);
    vlm_free(parent);
}

TEST(missing_extra_and_resized_files_are_named)
{
    char *parent = new_parent("files"), *dir = vlm_path_join(parent, "x"),
         *path = vlm_path_join(dir, "weights");
    write_checkpoint(parent, "x", "abc");
    vlmoe_error error = {0};
    put(dir, "notes.txt", "hello");
    CHECK_STATUS(open_checkpoint(parent, "x", false, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "notes.txt is not listed in checksums.json");
    write_checkpoint(parent, "x", "abc");
    put(dir, "weights", "abcd");
    error = (vlmoe_error){0};
    CHECK_STATUS(open_checkpoint(parent, "x", false, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "weights has 4 bytes, expected 3");
    CHECK_INT(unlink(path), 0);
    error = (vlmoe_error){0};
    CHECK_STATUS(open_checkpoint(parent, "x", false, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "weights is missing");
    CHECK_STATUS(open_checkpoint(parent, "y", false, NULL), VLMOE_E_IO);
    vlm_free(path);
    vlm_free(dir);
    vlm_free(parent);
}

TEST(a_list_that_lies_is_refused)
{
#define ENTRY(name, bytes, hash) "{\"name\":\"" name "\",\"bytes\":" bytes ",\"xxh3\":\"" hash "\"}"
#define ZEROS                    "0000000000000000"
    static const struct {
        const char *list;
        vlmoe_status status;
        const char *reason;
    } cases[] = {
        {"", VLMOE_E_FORMAT, "line 1"},
        {"[]", VLMOE_E_FORMAT, "no format number"},
        {"{\"format\":2,\"files\":[]}", VLMOE_E_VERSION, "format 2, this library reads 1"},
        {"{\"format\":1}", VLMOE_E_FORMAT, "no list of files"},
        {"{\"format\":1,\"files\":[3]}", VLMOE_E_FORMAT, "no plain file name"},
        {"{\"format\":1,\"files\":[" ENTRY("../up", "1", ZEROS) "]}", VLMOE_E_FORMAT,
         "no plain file name"},
        {"{\"format\":1,\"files\":[" ENTRY("/etc/passwd", "1", ZEROS) "]}", VLMOE_E_FORMAT,
         "no plain file name"},
        {"{\"format\":1,\"files\":[" ENTRY("..", "1", ZEROS) "]}", VLMOE_E_FORMAT,
         "no plain file name"},
        {"{\"format\":1,\"files\":[" ENTRY("a", "-1", ZEROS) "]}", VLMOE_E_FORMAT,
         "\"a\" needs bytes"},
        {"{\"format\":1,\"files\":[" ENTRY("a", "1", "00") "]}", VLMOE_E_FORMAT,
         "16 hexadecimal digits"},
        {"{\"format\":1,\"files\":[" ENTRY("b", "1", ZEROS) "," ENTRY("a", "1", ZEROS) "]}",
         VLMOE_E_FORMAT, "out of order"},
        {"{\"format\":1,\"files\":[" ENTRY("b", "1", ZEROS) "," ENTRY("b", "1", ZEROS) "]}",
         VLMOE_E_FORMAT, "listed twice"},
    };
    char *parent = new_parent("list"), *dir = vlm_path_join(parent, "x");
    write_checkpoint(parent, "x", "abc");
    for (int i = 0; i < VLM_COUNT(cases); i++) {
        put(dir, "checksums.json", cases[i].list);
        vlmoe_error error = {0};
        CHECK_STATUS_E(open_checkpoint(parent, "x", false, &error), cases[i].status, &error);
        CHECK_HAS(error.text, cases[i].reason);
    }
    vlm_free(dir);
    vlm_free(parent);
}

TEST(until_commit_the_old_checkpoint_stays_whole)
{
    char *parent = new_parent("replace"), *dir = vlm_path_join(parent, "x");
    write_checkpoint(parent, "x", "old");
    vlm_ckpt_writer *writer = NULL;
    CHECK_STATUS(vlm_ckpt_begin(parent, "x", &writer, NULL), VLMOE_OK);
    put(vlm_ckpt_folder(writer), "weights", "new");
    CHECK_STATUS(open_checkpoint(parent, "x", true, NULL), VLMOE_OK);
    check_file(dir, "weights", "old");
    vlm_ckpt_abandon(writer);
    vlm_ckpt_abandon(NULL);
    CHECK_INT(count_entries(parent), 1);
    write_checkpoint(parent, "x", "new");
    CHECK_STATUS(open_checkpoint(parent, "x", true, NULL), VLMOE_OK);
    check_file(dir, "weights", "new");
    CHECK_INT(count_entries(parent), 1);
    vlm_free(dir);
    vlm_free(parent);
}

TEST(a_commit_on_a_full_disk_keeps_the_old_checkpoint)
{
    char *parent = new_parent("full"), *dir = vlm_path_join(parent, "x");
    write_checkpoint(parent, "x", "old");
    vlm_ckpt_writer *writer = NULL;
    CHECK_STATUS(vlm_ckpt_begin(parent, "x", &writer, NULL), VLMOE_OK);
    put(vlm_ckpt_folder(writer), "weights", "new");
    struct rlimit old, small;
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 10; /* too small for checksums.json */
    signal(SIGXFSZ, SIG_IGN);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &small), 0);
    vlmoe_error error = {0};
    vlmoe_status status = vlm_ckpt_commit(writer, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK_STATUS(status, VLMOE_E_IO);
    CHECK_HAS(error.text, "checksums.json");
    CHECK_STATUS(open_checkpoint(parent, "x", true, NULL), VLMOE_OK);
    check_file(dir, "weights", "old");
    CHECK_INT(count_entries(parent), 1);
    vlm_free(dir);
    vlm_free(parent);
}

TEST(names_and_places_that_cannot_be_are_refused)
{
    char *parent = new_parent("place");
    vlm_ckpt_writer *writer = NULL;
    static const char *const bad[] = {
        "",       ".",
        "..",     "a/b",
        ".tmp-x", "a-name-that-is-far-too-long-to-be-the-name-of-any-checkpoint-folder-at-all"};
    for (int i = 0; i < VLM_COUNT(bad); i++)
        CHECK_STATUS(vlm_ckpt_begin(parent, bad[i], &writer, NULL), VLMOE_E_ARG);
    put(test_tmp_dir(), "plain", "");
    char *under = new_parent("plain/runs");
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_ckpt_begin(under, "x", &writer, &error), VLMOE_E_IO);
    CHECK_HAS(error.text, "Not a directory");
    CHECK(writer == NULL);
    CHECK_STATUS(vlm_ckpt_begin(parent, "x", &writer, NULL), VLMOE_OK);
    char *inner = vlm_path_join(vlm_ckpt_folder(writer), "folder");
    CHECK_STATUS(vlm_dir_make(inner, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_ckpt_commit(writer, NULL), VLMOE_E_ARG);
    CHECK_INT(count_entries(parent), 0);
    vlm_free(inner);
    vlm_free(under);
    vlm_free(parent);
}

TEST(what_a_dead_run_left_is_finished_or_cleared)
{
    char *parent = new_parent("dead"), *a = vlm_path_join(parent, "a"),
         *b = vlm_path_join(parent, "b");
    char *old_a = vlm_path_join(parent, ".old-a"), *old_b = vlm_path_join(parent, ".old-b");
    char *tmp = vlm_path_join(parent, ".tmp-c"),
         *gone = vlm_path_join(parent, ".gone-step-00000001");
    write_checkpoint(parent, "a", "one"); /* died between the two renames: only .old-a holds it */
    CHECK_INT(rename(a, old_a), 0);
    write_checkpoint(parent, "b", "two"); /* recovers a on its way */
    CHECK_STATUS(open_checkpoint(parent, "a", true, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_dir_make(old_b, NULL), VLMOE_OK); /* died before deleting what was replaced */
    CHECK_STATUS(vlm_dir_make(tmp, NULL), VLMOE_OK);
    put(tmp, "weights", "half");
    CHECK_STATUS(vlm_dir_make(gone, NULL), VLMOE_OK);
    put(parent, "best.json.tmp-1-0", "{");
    put(parent, ".mine", "kept");
    CHECK_STATUS(vlm_ckpt_recover(parent, NULL), VLMOE_OK);
    CHECK_INT(count_entries(parent), 3);
    check_file(b, "weights", "two");
    CHECK(exists(parent, ".mine"));
    char *nowhere = new_parent("nowhere");
    CHECK_STATUS(vlm_ckpt_recover(nowhere, NULL), VLMOE_OK);
    char *all[] = {parent, a, b, old_a, old_b, tmp, gone, nowhere};
    for (int i = 0; i < VLM_COUNT(all); i++) vlm_free(all[i]);
}

TEST(step_names_and_numbers_agree)
{
    char name[VLM_CKPT_NAME];
    int64_t step = -1;
    vlm_ckpt_step_name(42, name);
    CHECK_TEXT(name, "step-00000042");
    CHECK(vlm_ckpt_step_of(name, &step));
    CHECK_INT(step, 42);
    vlm_ckpt_step_name(123456789012, name);
    CHECK(vlm_ckpt_step_of(name, &step));
    CHECK_INT(step, 123456789012);
    static const char *const bad[] = {"step-",
                                      "step-1",
                                      "step-0000004x",
                                      "step-000000042",
                                      "stepp00000042",
                                      "step-00000042.bak",
                                      "step-9999999999999999999"};
    for (int i = 0; i < VLM_COUNT(bad); i++) CHECK(!vlm_ckpt_step_of(bad[i], &step));
}

TEST(prune_keeps_the_newest_and_the_named_and_all_that_is_not_a_step)
{
    char *parent = new_parent("prune");
    static const char *const names[] = {"step-00000010", "step-00000020", "step-00000030",
                                        "step-00000040", "final",         "step-100000000"};
    for (int i = 0; i < VLM_COUNT(names); i++) write_checkpoint(parent, names[i], "abc");
    put(parent, "best.json", "{}");
    CHECK_STATUS(vlm_ckpt_prune(parent, 0, NULL, NULL), VLMOE_E_ARG);
    CHECK_STATUS(vlm_ckpt_prune(parent, 2, "step-00000010", NULL), VLMOE_OK);
    static const bool kept[] = {true, false, false, true, true, true};
    for (int i = 0; i < VLM_COUNT(names); i++) CHECK(exists(parent, names[i]) == kept[i]);
    CHECK_INT(count_entries(parent), 5);
    vlm_free(parent);
}

TEST(latest_is_the_highest_number_that_is_complete)
{
    char *parent = new_parent("latest"), *found = (char *)"x";
    CHECK_STATUS(vlm_ckpt_latest(parent, &found, NULL), VLMOE_OK);
    CHECK(found == NULL);
    write_checkpoint(parent, "step-00000009", "abc");
    write_checkpoint(parent, "step-00000010", "abc");
    write_checkpoint(parent, "step-100000000", "abc"); /* sorts before step-2 as text */
    write_checkpoint(parent, "step-20000000", "abc");
    CHECK_STATUS(vlm_ckpt_latest(parent, &found, NULL), VLMOE_OK);
    CHECK_HAS(found, "/step-100000000");
    char *weights = vlm_path_join(found, "weights");
    CHECK_INT(unlink(weights), 0);
    vlm_free(weights);
    vlm_free(found);
    CHECK_STATUS(vlm_ckpt_latest(parent, &found, NULL), VLMOE_OK);
    CHECK_HAS(found, "/step-20000000");
    vlm_free(found);
    vlm_free(parent);
}

TEST(a_path_stands_for_a_checkpoint_or_a_runs_latest)
{
    char *parent = new_parent("find"), *found = NULL, *again = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_dir_make(parent, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_ckpt_find(parent, &found, &error), VLMOE_E_IO);
    CHECK_HAS(error.text, "holds no checkpoint (a folder step-XXXXXXXX");
    write_checkpoint(parent, "step-00000009", "abc");
    CHECK_STATUS(vlm_ckpt_find(parent, &found, NULL), VLMOE_OK);
    char *slashed = vlm_format("%s//", found);
    CHECK_STATUS(vlm_ckpt_find(slashed, &again, NULL), VLMOE_OK);
    CHECK_TEXT(again, found);
    vlm_free(again);
    put(found, "weights", "ab"); /* a byte short */
    error = (vlmoe_error){0};
    CHECK_STATUS(vlm_ckpt_find(parent, &again, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "no checkpoint that is whole; the newest: ");
    CHECK_HAS(error.text, "weights");
    CHECK_STATUS(vlm_ckpt_find("/nowhere/at/all", &again, NULL), VLMOE_E_IO);
    vlm_free(slashed);
    vlm_free(found);
    vlm_free(parent);
}

TEST(the_best_checkpoint_is_remembered)
{
    char *parent = new_parent("best");
    CHECK_STATUS(vlm_dir_make(parent, NULL), VLMOE_OK);
    vlm_ckpt_best best = {.value = 7}, in = {"step-00000003", "accuracy \"dev\"", 0.1};
    bool found = true;
    CHECK_STATUS(vlm_ckpt_get_best(parent, &best, &found, NULL), VLMOE_OK);
    CHECK(!found && best.value == 7);
    CHECK_STATUS(vlm_ckpt_put_best(parent, &in, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_ckpt_get_best(parent, &best, &found, NULL), VLMOE_OK);
    CHECK(found && best.value == 0.1);
    CHECK_TEXT(best.checkpoint, "step-00000003");
    CHECK_TEXT(best.metric, "accuracy \"dev\"");
    in.value = 0.0 / 0.0;
    CHECK_STATUS(vlm_ckpt_put_best(parent, &in, NULL), VLMOE_E_ARG);
    static const char *const bad[] = {"{}",
                                      "{\"checkpoint\":\"../x\",\"metric\":\"m\",\"value\":1}",
                                      "{\"checkpoint\":\"x\",\"metric\":\"m\",\"value\":\"1\"}",
                                      "{\"checkpoint\":\"x\",\"value\":1}"};
    for (int i = 0; i < VLM_COUNT(bad); i++) {
        put(parent, "best.json", bad[i]);
        CHECK_STATUS(vlm_ckpt_get_best(parent, &best, &found, NULL), VLMOE_E_FORMAT);
    }
    CHECK(best.value == 0.1);
    vlm_free(parent);
}
