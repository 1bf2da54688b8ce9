/* Any bytes as KEY.json and as labels.txt: refused with a reason, or what is read of them keeps to
 * what the header promises. */
#include <stdlib.h>
#include <string.h>
#include "data_label.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_facts(const vlm_sample_facts *facts, int64_t n_classes)
{
    if (facts->n_labels < 0 || facts->n_labels > VLM_LABELS_MAX) abort();
    if (facts->n_pictures < 0 || facts->n_pictures > VLM_SAMPLE_PICTURES_MAX) abort();
    for (int i = 0; i < facts->n_labels; i++) {
        if (facts->label[i] < 0 || facts->label[i] >= n_classes) abort();
        if (!(facts->score[i] > 0.0f && facts->score[i] <= 1.0f)) abort();
        for (int k = 0; k < i; k++)
            if (facts->label[k] == facts->label[i]) abort();
    }
    for (int i = 0; i < facts->n_pictures; i++)
        if (facts->picture[i] < 0) abort();
}

static void check_classes(const vlm_classes *classes)
{
    if (classes->n < 1) abort();
    for (int64_t i = 0; i < classes->n; i++)
        if (!classes->name[i][0] || strchr(classes->name[i], '\n')) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlm_sample_facts facts = {0};
    vlm_classes classes = {0};
    vlmoe_error error = {0};
    vlmoe_status st = vlm_sample_facts_read((vlm_bytes){data, size}, 7, &facts, &error);
    if (st && (st != VLMOE_E_FORMAT || !error.text[0])) abort();
    if (!st) check_facts(&facts, 7);
    error = (vlmoe_error){0};
    st = vlm_classes_parse((const char *)data, size, "labels.txt", &classes, &error);
    if (st && (st != VLMOE_E_FORMAT || !error.text[0] || classes.text)) abort();
    if (!st) check_classes(&classes);
    vlm_classes_free(&classes);
    return 0;
}
