/* Any bytes as a file of JSON values, by lines, as an array and as a member of an object: the same
 * elements and the same complaint whatever is read at once, and each element is found again by its
 * offset. The first byte says how the rest is read. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "data_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEEN_MAX = 64 };

typedef struct seen {
    int64_t n;
    uint64_t offset[SEEN_MAX];
    size_t bytes[SEEN_MAX];
    vlmoe_error error;
} seen;

static void walk(const char *path, const char *list, size_t chunk, seen *out)
{
    vlm_records *records = NULL;
    *out = (seen){0};
    vlmoe_status st = vlm_records_open(path, list, chunk, &records, &out->error);
    while (!st) {
        const vlm_value *value = NULL;
        const char *text = NULL;
        size_t bytes = 0;
        st = vlm_records_next(records, &value, &out->error);
        if (st || !value) break;
        vlm_records_text(records, &text, &bytes);
        if (out->n < SEEN_MAX) {
            out->offset[out->n] = vlm_records_offset(records);
            out->bytes[out->n] = bytes;
        }
        if (++out->n != vlm_records_count(records)) abort();
    }
    if (st && (st == VLMOE_E_NOMEM || !out->error.text[0])) abort();
    vlm_records_close(records);
}

static void jump(const char *path, const char *list, const seen *all)
{
    vlm_records *records = NULL;
    vlmoe_error error = {0};
    if (!all->n || vlm_records_open(path, list, 5, &records, &error)) return;
    for (int64_t i = VLM_MIN(all->n, SEEN_MAX) - 1; i >= 0; i--) {
        const vlm_value *value = NULL;
        const char *text = NULL;
        size_t bytes = 0;
        if (vlm_records_jump(records, all->offset[i], &value, &error)) abort();
        vlm_records_text(records, &text, &bytes);
        if (list && bytes != all->bytes[i]) abort(); /* a line may have blanks around */
    }
    vlm_records_close(records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const lists[] = {NULL, "", "q"};
    seen small, large;
    char path[64];
    if (size < 2) return 0;
    int fd = memfd_create("records", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data + 1, size - 1) != (ssize_t)(size - 1)) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const char *list = lists[data[0] % 3];
    walk(path, list, data[0] / 3 % 9 + 1, &small);
    walk(path, list, 0, &large);
    if (small.n != large.n || small.error.status != large.error.status ||
        strcmp(small.error.text, large.error.text) || memcmp(&small, &large, sizeof small.offset))
        abort();
    jump(path, list, &large);
    close(fd);
    return 0;
}
