/* Retrieval between pictures and texts: R@1, R@5, R@10, mean and median rank, both ways, from a matrix of scores that is shown block of rows
 * by block, so that it never has to be whole in memory (5,000 x 25,000 scores are 500 MB).
 *
 *   rank = 1 + candidates that are not relevant and score at least as high as the best relevant one
 *
 * So a tie counts against the model, and one that gives equal scores to all gets nothing. R@K is the share of queries with rank <= K; a
 * picture is found when any of its texts is. (The field's scripts sort, and leave ties to the sort.)
 * Relevant are the texts of a picture, and the picture of a text. With concept numbers, equal numbers mean equal texts (the same words):
 * every picture that has such a text is relevant to it, and the other way round. */
#ifndef VLM_METRIC_RECALL_H
#define VLM_METRIC_RECALL_H

#include "base.h"

typedef struct vlm_recall vlm_recall;

typedef struct vlm_recall_set {
    int64_t n_images, n_texts;
    const int64_t *image_of; /* [n_texts] 0..n_images - 1; each picture has at least one text */
    const int64_t *concept;  /* [n_texts] 0..n_texts - 1; NULL: all texts differ */
    int64_t fold;            /* pictures of a fold, a divisor of n_images, e.g. 1000 of COCO's 5000; 0 = no folds */
} vlm_recall_set;

enum { VLM_RECALL_AT = 3 }; /* 1, 5, 10 */
extern const int vlm_recall_at[VLM_RECALL_AT];

typedef struct vlm_recall_way {
    double at[VLM_RECALL_AT]; /* shares, 0..1 */
    double mean_rank, median_rank;
} vlm_recall_way;

typedef struct vlm_recall_result {
    vlm_recall_way text;  /* texts found for pictures ("TR") */
    vlm_recall_way image; /* pictures found for texts ("IR") */
    double mean;          /* of the six recalls */
} vlm_recall_result;

/* Copies what it needs of set. Errors: ARG (a number out of range, a picture without a text), NOMEM. */
vlmoe_status vlm_recall_create(const vlm_recall_set *set, vlm_recall **out, vlmoe_error *error);
void vlm_recall_destroy(vlm_recall *recall);

/* Rows first_image.. of the matrix, score [n_rows, n_texts]. The matrix is shown twice, each time from the first row to the last
 * and with the same bits: what the best relevant picture of a text scores is known only after the first time.
 * Errors: STATE (not the next row, or shown a third time), NUMERIC (a score is NaN). */
vlmoe_status vlm_recall_show(vlm_recall *recall, int64_t first_image, int64_t n_rows, const double *score, vlmoe_error *error);

/* Errors: STATE (not shown twice). folds: the mean over folds, where candidates are those of the query's own fold; the same as all
 * when there are none. */
vlmoe_status vlm_recall_finish(const vlm_recall *recall, vlm_recall_result *all, vlm_recall_result *folds, vlmoe_error *error);

#endif
