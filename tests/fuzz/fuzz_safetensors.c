/* Any bytes as a safetensors file: refused, or every tensor lies inside the bytes and is found by
 * its name. */
#include <stdlib.h>
#include <string.h>
#include "ckpt_safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlm_st *st = NULL;
    vlmoe_error error = {0};
    if (vlm_st_open_bytes(data, size, "input", &st, &error)) {
        if (st || !error.text[0]) abort();
        return 0;
    }
    for (int64_t i = 0; i < vlm_st_count(st); i++) {
        const vlm_st_tensor *t = vlm_st_get(st, i);
        const uint8_t *at = t->data;
        if (at < data || t->bytes > size - (size_t)(at - data)) abort();
        if (vlm_st_find(st, t->name) != t) abort();
    }
    vlm_st_close(st);
    return 0;
}
