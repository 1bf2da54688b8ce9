/* Reading the stored values of scripts/golden/make_image.py, record by record. */
#ifndef GOLDEN_FILE_H
#define GOLDEN_FILE_H

#include <string.h>
#include "base_file.h"
#include "harness.h"

typedef struct golden_file {
    char *data;
    size_t bytes, at;
} golden_file;

static inline golden_file golden_open(const char *path)
{
    golden_file file = {0};
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_file_read(path, 1 << 24, &file.data, &file.bytes, &error), VLMOE_OK, &error);
    return file;
}

/* The next bytes; they stay valid until the file is closed. */
static inline const void *golden_take(golden_file *file, size_t bytes)
{
    CHECK(file->bytes - file->at >= bytes);
    const void *here = file->data + file->at;
    file->at += bytes;
    return here;
}

static inline int32_t golden_int(golden_file *file)
{
    int32_t value;
    memcpy(&value, golden_take(file, sizeof value), sizeof value);
    return value;
}

static inline double golden_double(golden_file *file)
{
    double value;
    memcpy(&value, golden_take(file, sizeof value), sizeof value);
    return value;
}

#endif
