/* Retrieval with a trained model: features of pictures and texts, scores between all of them, and reading the best candidates together. */
#ifndef VLM_TRAIN_RETRIEVE_H
#define VLM_TRAIN_RETRIEVE_H

#include "train_report.h"

/* One recording in PREDICT mode; collective, and of at most a group's size where there are ranks. Errors: those of the model; the text is the
 * trainer's.
 * Unit features: image [n_images, E], text [n_texts, E]; inputs without pairs. */
vlmoe_status vlm_features_encode(vlmoe_trainer *trainer, const vlm_mome_inputs *inputs, float *image, float *text);
/* Of pairs: out [n_pairs] log-odds that they belong together. */
vlmoe_status vlm_matches_encode(vlmoe_trainer *trainer, const vlm_mome_inputs *inputs, float *out);
/* 1 / temperature. */
vlmoe_status vlm_retrieval_scale(vlmoe_trainer *trainer, double *out);

/* Every held-out picture against every held-out text (all captions of each), both ways, into scores: the mean of six recalls first; with
 * task.rerank (and matching learned) the best candidates of each query are put in order by similarity plus matching, and the figures of
 * similarity alone follow as "dual ...", and of 5,000 pictures (COCO's test set) the means over folds of 1,000 as "1K ...". Texts equal but for white space at the ends stand for each other. With tally->n_ranked the best
 * candidates are kept. Collective. */
vlmoe_status vlm_retrieval_evaluate(vlmoe_trainer *trainer, vlm_tally *tally);

#endif
