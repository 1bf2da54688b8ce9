/* Files: whole or not at all, and errors that name the path. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base_file.h"
#include "base_hash.h"
#include "harness.h"

static char *in_tmp(const char *name)
{
    return vlm_path_join(test_tmp_dir(), name);
}

static void check_content(const char *path, const char *want)
{
    char *text = NULL;
    size_t bytes = 0;
    CHECK_STATUS(vlm_file_read(path, 1 << 20, &text, &bytes, NULL), VLMOE_OK);
    CHECK_TEXT(text, want);
    CHECK_INT(bytes, strlen(want));
    vlm_free(text);
}

TEST(a_file_replaced_is_read_back)
{
    char *path = in_tmp("a.txt");
    CHECK_STATUS(vlm_file_replace(path, "one", 3, NULL), VLMOE_OK);
    check_content(path, "one");
    CHECK_STATUS(vlm_file_replace(path, "", 0, NULL), VLMOE_OK);
    check_content(path, "");
    char *text = NULL;
    size_t bytes;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_file_replace(path, "12345", 5, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_file_read(path, 5, &text, &bytes, NULL), VLMOE_OK);
    vlm_free(text);
    text = NULL;
    CHECK_STATUS(vlm_file_read(path, 4, &text, &bytes, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "a.txt is larger than the 4 bytes");
    CHECK(text == NULL);
    vlm_free(path);
}

TEST(reading_without_a_known_size_finds_the_end)
{
    char *text = NULL;
    size_t bytes = 0;
    CHECK_STATUS(vlm_file_read("/proc/self/maps", 1 << 24, &text, &bytes, NULL), VLMOE_OK);
    CHECK(bytes > 100 && strlen(text) == bytes);
    vlm_free(text);
    CHECK_STATUS(vlm_file_read("/dev/zero", 1 << 20, &text, &bytes, NULL), VLMOE_E_FORMAT);
}

TEST(missing_files_and_files_in_the_way_are_io_errors_with_the_path)
{
    char *file = in_tmp("plain"), *under = in_tmp("plain/x"), *text;
    size_t bytes;
    vlm_map map;
    vlm_writer *writer = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_file_replace(file, "p", 1, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_file_read(under, 10, &text, &bytes, &error), VLMOE_E_IO);
    CHECK_HAS(error.text, "plain/x: Not a directory");
    CHECK_STATUS(vlm_map_open("/nonexistent/y", &map, NULL), VLMOE_E_IO);
    CHECK_STATUS(vlm_map_open(test_tmp_dir(), &map, NULL), VLMOE_E_IO);
    CHECK_STATUS(vlm_writer_open(under, &writer, NULL), VLMOE_E_IO);
    CHECK_STATUS(vlm_file_replace(under, "p", 1, NULL), VLMOE_E_IO);
    CHECK_STATUS(vlm_dir_make(under, NULL), VLMOE_E_IO);
    CHECK_STATUS(vlm_dir_make(file, NULL), VLMOE_E_IO);
    CHECK(writer == NULL);
    vlm_free(file);
    vlm_free(under);
}

/* A disk that is full after `limit` bytes, as far as this process can tell. */
static struct rlimit limit_file_size(rlim_t limit)
{
    struct rlimit old, small;
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = limit;
    signal(SIGXFSZ, SIG_IGN);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &small), 0);
    return old;
}

TEST(what_is_no_plain_file_is_written_not_replaced)
{
    char *link = in_tmp("link"), *target = in_tmp("target"), *pipe = in_tmp("pipe"), *text = NULL;
    size_t bytes = 0;
    struct stat there;
    CHECK(!symlink("target", link)); /* leads nowhere yet */
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(vlm_file_replace(link, "through", i ? 7 : 3, NULL), VLMOE_OK);
        CHECK(!lstat(link, &there) && S_ISLNK(there.st_mode));
        CHECK_STATUS(vlm_file_read(target, 100, &text, &bytes, NULL), VLMOE_OK);
        CHECK_TEXT(text, i ? "through" : "thr");
        vlm_free(text);
    }
    CHECK(!mkfifo(pipe, 0600));
    int fd = open(pipe, O_RDONLY | O_NONBLOCK);
    char got[8] = "";
    CHECK_STATUS(vlm_file_replace(pipe, "through", 7, NULL), VLMOE_OK);
    CHECK(!lstat(pipe, &there) && S_ISFIFO(there.st_mode));
    CHECK_INT(read(fd, got, 7), 7);
    CHECK_TEXT(got, "through");
    close(fd);
    vlm_free(link);
    vlm_free(target);
    vlm_free(pipe);
}

TEST(a_replace_that_fails_keeps_the_old_file_and_leaves_nothing_behind)
{
    char *dir = in_tmp("full"), *path = vlm_path_join(dir, "state");
    static char big[8192];
    CHECK_STATUS(vlm_dir_make(dir, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_file_replace(path, "old", 3, NULL), VLMOE_OK);
    vlmoe_error error = {0};
    struct rlimit old = limit_file_size(1000);
    vlmoe_status status = vlm_file_replace(path, big, sizeof big, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK_STATUS(status, VLMOE_E_IO);
    CHECK_HAS(error.text, "full/state: File too large");
    check_content(path, "old");
    char **names;
    size_t n;
    CHECK_STATUS(vlm_dir_list(dir, &names, &n, NULL), VLMOE_OK);
    CHECK_INT(n, 1);
    vlm_names_free(names, n);
    vlm_free(dir);
    vlm_free(path);
}

TEST(a_writer_counts_and_hashes_every_byte)
{
    char *path = in_tmp("w.bin");
    enum { BYTES = 1000003 };
    unsigned char *data = vlm_alloc(BYTES);
    for (int i = 0; i < BYTES; i++) data[i] = (unsigned char)(i * 31 >> 3);
    vlm_writer *writer = NULL;
    CHECK_STATUS(vlm_writer_open(path, &writer, NULL), VLMOE_OK);
    size_t at = 0;
    for (size_t step = 1; at < BYTES;
         step = step * 3 + 1) { /* small, medium and beyond the buffer */
        size_t n = VLM_MIN(step, BYTES - at);
        vlm_writer_put(writer, data + at, n);
        at += n;
    }
    CHECK_INT(vlm_writer_bytes(writer), BYTES);
    CHECK(vlm_writer_hash(writer) == vlm_hash64(data, BYTES));
    CHECK_STATUS(vlm_writer_close(writer, NULL), VLMOE_OK);
    vlm_map map;
    CHECK_STATUS(vlm_map_open(path, &map, NULL), VLMOE_OK);
    CHECK_INT(map.bytes, BYTES);
    CHECK(memcmp(map.data, data, BYTES) == 0);
    vlm_map_close(&map);
    CHECK(map.data == NULL);
    vlm_map_close(&map);
    vlm_free(data);
    vlm_free(path);
}

TEST(a_full_disk_comes_out_of_close)
{
    static char big[600000];
    static const size_t sizes[] = {1, sizeof big}; /* noticed at close, noticed at put */
    for (int i = 0; i < VLM_COUNT(sizes); i++) {
        vlm_writer *writer = NULL;
        vlmoe_error error = {0};
        CHECK_STATUS(vlm_writer_open("/dev/full", &writer, NULL), VLMOE_OK);
        vlm_writer_put(writer, big, sizes[i]);
        vlm_writer_put(writer, big, 1);
        CHECK_STATUS(vlm_writer_close(writer, &error), VLMOE_E_IO);
        CHECK_TEXT(error.text, "cannot write /dev/full: No space left on device");
    }
    CHECK_STATUS(vlm_writer_close(NULL, NULL), VLMOE_OK);
}

TEST(an_abandoned_writer_deletes_its_file_but_never_a_device)
{
    char *path = in_tmp("gone");
    vlm_writer *writer = NULL;
    CHECK_STATUS(vlm_writer_open(path, &writer, NULL), VLMOE_OK);
    vlm_writer_put(writer, "x", 1);
    vlm_writer_abandon(writer);
    CHECK(!vlm_path_exists(path));
    CHECK_STATUS(vlm_writer_open("/dev/null", &writer, NULL), VLMOE_OK);
    vlm_writer_abandon(writer);
    CHECK(vlm_path_exists("/dev/null"));
    vlm_free(path);
}

TEST(an_empty_file_maps_to_nothing)
{
    char *path = in_tmp("empty");
    vlm_map map = {(const unsigned char *)"x", 1};
    CHECK_STATUS(vlm_file_replace(path, "", 0, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_map_open(path, &map, NULL), VLMOE_OK);
    CHECK(map.data == NULL && map.bytes == 0);
    vlm_map_close(&map);
    vlm_free(path);
}

TEST(folders_are_made_listed_in_order_and_removed_with_content)
{
    char *top = in_tmp("d"), *deep = in_tmp("d/e//f/"), *one = in_tmp("d/b"), *two = in_tmp("d/a"),
         *link = in_tmp("d/l");
    CHECK_STATUS(vlm_dir_make(deep, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_dir_make(deep, NULL), VLMOE_OK);
    CHECK(vlm_path_is_dir(deep));
    CHECK_STATUS(vlm_file_replace(one, "1", 1, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_file_replace(two, "2", 1, NULL), VLMOE_OK);
    CHECK_INT(symlink("/tmp", link), 0); /* must not be followed */
    CHECK(!vlm_path_is_dir(one) && vlm_path_exists(one));
    char **names;
    size_t n;
    CHECK_STATUS(vlm_dir_list(top, &names, &n, NULL), VLMOE_OK);
    CHECK_INT(n, 4);
    CHECK_TEXT(names[0], "a");
    CHECK_TEXT(names[1], "b");
    CHECK_TEXT(names[2], "e");
    CHECK_TEXT(names[3], "l");
    vlm_names_free(names, n);
    CHECK_STATUS(vlm_dir_remove(top, NULL), VLMOE_OK);
    CHECK(!vlm_path_exists(top) && vlm_path_exists("/tmp"));
    CHECK_STATUS(vlm_dir_remove(top, NULL), VLMOE_OK);
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_dir_list(top, &names, &n, &error), VLMOE_E_IO);
    CHECK_HAS(error.text, "/d: No such file or directory");
    char *all[] = {top, deep, one, two, link};
    for (int i = 0; i < VLM_COUNT(all); i++) vlm_free(all[i]);
}

static void check_owned(char *got, const char *want)
{
    CHECK_TEXT(got, want);
    vlm_free(got);
}

TEST(paths_join_and_split)
{
    check_owned(vlm_path_join("a", "b"), "a/b");
    check_owned(vlm_path_join("a/", "b"), "a/b");
    check_owned(vlm_path_join("a", "/b"), "/b");
    check_owned(vlm_path_join("", "b"), "b");
    check_owned(vlm_path_join(NULL, "b"), "b");
    check_owned(vlm_path_dir("a/b/c"), "a/b");
    check_owned(vlm_path_dir("c"), ".");
    check_owned(vlm_path_dir("/c"), "/");
    check_owned(vlm_path_dir("/"), "/");
    check_owned(vlm_path_dir("a//b/"), "a");
}

TEST(hashes_are_xxh3_whole_and_in_pieces)
{
    CHECK(vlm_hash64("", 0) ==
          UINT64_C(0x2D06800538D394C2)); /* published value for the empty input */
    vlm_hasher *hasher = vlm_hasher_create();
    vlm_hasher_put(hasher, "ab", 2);
    vlm_hasher_put(hasher, NULL, 0);
    vlm_hasher_put(hasher, "c", 1);
    CHECK(vlm_hasher_value(hasher) == vlm_hash64("abc", 3));
    CHECK(vlm_hash64("abc", 3) != vlm_hash64("abd", 3));
    vlm_hasher_destroy(hasher);
    vlm_hasher_destroy(NULL);
}
