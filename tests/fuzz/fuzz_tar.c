/* Any bytes as a tar, whole and as a part: every member lies inside, the walk moves on and ends.
 * Tried again with the headers' checksums made right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "data_tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 512 <= size; at += 512) {
        uint8_t *block = data + at;
        if (memcmp(block + 257, "ustar", 5)) continue;
        unsigned sum = 0;
        memset(block + 148, ' ', 8);
        for (int i = 0; i < 512; i++) sum += block[i];
        snprintf((char *)block + 148, 8, "%06o", sum);
    }
}

static void walk(const uint8_t *data, size_t size, bool is_part)
{
    vlm_tar tar = {data, size, 0, is_part, "input"};
    uint64_t before = 0;
    for (bool found = true; found;) {
        vlm_tar_member member;
        vlmoe_error error = {0};
        if (vlm_tar_next(&tar, &member, &found, &error)) {
            if (!error.text[0]) abort();
            return;
        }
        if (tar.at > size || (found && tar.at <= before)) abort();
        before = tar.at;
        if (!found) return;
        if (member.data < data || member.data + member.bytes > data + size) abort();
        if (!memchr(member.path, 0, sizeof member.path) || member.offset >= tar.at) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk(data, size, false);
    walk(data, size, true);
    uint8_t *sealed = malloc(size ? size : 1);
    if (!sealed) return 0;
    if (size) memcpy(sealed, data, size);
    seal(sealed, size);
    walk(sealed, size, false);
    walk(sealed, size, true);
    free(sealed);
    return 0;
}
