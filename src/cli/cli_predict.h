/* vlmoe-eval predict: what its files share. */
#ifndef VLM_CLI_PREDICT_H
#define VLM_CLI_PREDICT_H

#include "cli_model.h"
#include "train_predict.h"

enum { VLM_CLI_MOST_GIVEN = 2 };

typedef struct vlm_predict_options {
    vlm_cli_model_options model;
    int n_images, n_texts;
    const char *image[VLM_CLI_MOST_GIVEN], *text[VLM_CLI_MOST_GIVEN];
    const char *captions, *images; /* retrieval: a file of lines, a folder of pictures */
    int64_t top;
    const char *json;
} vlm_predict_options;

/* One line of the answer, best first. */
typedef struct vlm_predict_row {
    char *name;
    double share; /* of a class; of retrieval the cosine */
    double match; /* retrieval: probability that they belong together; NaN = not asked */
} vlm_predict_row;
typedef struct vlm_predict_rows {
    int64_t n;
    vlm_predict_row *row;
} vlm_predict_rows;
void vlm_predict_rows_free(vlm_predict_rows *rows);

/* Retrieval: the captions of a file for one picture, or the pictures of a folder for one text. Pictures that cannot be decoded are said on
 * standard error and left out. Errors: IO, FORMAT (nothing to rank), NOMEM; those of the model. */
vlmoe_status vlm_predict_rank(const char *tool, vlmoe_trainer *trainer, const vlm_predict_options *options, vlm_predict_rows *out, vlmoe_error *error);

#endif
