/* The held-out set of a retrieval, read and encoded: every picture and every text, their features, and the scores between them. */
#ifndef VLM_TRAIN_GALLERY_H
#define VLM_TRAIN_GALLERY_H

#include "train_retrieve.h"

/* The held-out set, encoded. */
typedef struct vlm_gallery {
    vlmoe_trainer *t;
    int64_t n_cut; /* texts of more tokens than the model takes */
    int64_t n_images, n_texts, width, picture_bytes, per_batch;
    uint8_t *pixels;             /* [n_images] pictures; NULL: too many, loaded when wanted */
    int32_t *token;              /* texts one after the other */
    int64_t *offset;             /* [n_texts + 1] */
    int64_t *first_text;         /* [n_images + 1] */
    int64_t *image_of, *concept; /* [n_texts] */
    int64_t *number;             /* [n_texts] vlm_caption_number of each */
    float *image;                /* [n_images, width] */
    float *text;                 /* [n_texts, width], then turned: [width, n_texts] */
    double scale;
} vlm_gallery;

/* Collective: read all, and encode it. Errors: FORMAT (a sample without a text), IO, NOMEM; the text is the trainer's. */
vlmoe_status vlm_gallery_open(vlmoe_trainer *trainer, vlm_gallery *out);
void vlm_gallery_close(vlm_gallery *gallery); /* a zeroed one, or one that could not be opened, too */
vlmoe_status vlm_gallery_no_memory(vlm_gallery *gallery); /* NOMEM, and its text */
vlmoe_status vlm_gallery_picture(vlm_gallery *gallery, int64_t i, uint8_t *out);
/* Of picture i with all texts: cosines over the temperature. out [n_texts] */
void vlm_gallery_scores(const vlm_gallery *gallery, int64_t i, float *out);

/* Work in batches that ranks take in turn; all make as many calls, and each learns all results. */
typedef struct vlm_batches {
    vlm_gallery *g;
    int64_t n, per_batch; /* items */
    int64_t width;        /* floats that an item gives */
    float *out;           /* [n, width] */
    vlmoe_status (*run)(struct vlm_batches *b, int64_t first, int64_t n, float *out);
    void *more;
} vlm_batches;

vlmoe_status vlm_batches_run(vlm_batches *batches);

#endif
