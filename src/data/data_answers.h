/* The classes of VQA: answers that are frequent in annotation files, as ViLT, VLMo and BEiT-3 choose
 * them (3,129 of VQAv2's train and val with at least 9). Not here: scores. */
#ifndef VLM_DATA_ANSWERS_H
#define VLM_DATA_ANSWERS_H

#include "data_idmap.h"

typedef struct vlm_answer {
    char *name; /* normalised multiple_choice_answer (vlm_vqa_normalise) */
    int64_t n;  /* annotations that have it */
} vlm_answer;

typedef struct vlm_answers { /* starts zeroed */
    vlm_answer *list;        /* in the order of first appearance */
    int64_t n, room;
    vlm_idmap map;
    int64_t n_annotations;
    int64_t n_empty; /* annotations whose answer is nothing after normalisation ("the"); they count for no class */
} vlm_answers;

void vlm_answers_free(vlm_answers *answers);

/* Count a file's annotations too. Errors: IO, FORMAT, NOMEM. */
vlmoe_status vlm_answers_read(vlm_answers *answers, const char *path, vlmoe_error *error);

/* Those with at least min_count, a line each. *n = how many, *n_covered = annotations that have one
 * of them. Errors: FORMAT (none), IO, NOMEM. */
vlmoe_status vlm_answers_write(const vlm_answers *answers, int64_t min_count, const char *path,
                               int64_t *n, int64_t *n_covered, vlmoe_error *error);

#endif
