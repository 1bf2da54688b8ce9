/* What the task of a config says about its groups. */
#ifndef VLM_CONFIG_TASK_H
#define VLM_CONFIG_TASK_H

#include "config.h"

/* run.task is one of section task's: the encoder with a head of its own, on labelled samples. */
bool vlm_config_is_tuned(const vlmoe_config *config);
/* The MoME encoder is trained: any task but the image tokeniser's. */
bool vlm_config_has_encoder(const vlmoe_config *config);

/* What the encoder meets at once in training: A, C and B of data_group.h. Retrieval encodes its pictures and texts apart, nlvr2 has two
 * pairs a sample; an objective that is off has none. */
typedef struct vlm_group_counts {
    int64_t images, texts, pairs;
} vlm_group_counts;
vlm_group_counts vlm_config_group(const vlmoe_config *config);
/* The most pairs of one encoding: those of the group, or those that retrieval's matching makes of it (matched, and one wrong picture and
 * one wrong text for each). */
int64_t vlm_config_most_pairs(const vlmoe_config *config);

#endif
