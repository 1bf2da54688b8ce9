/* What a labelled set says of its samples: the KEY.json of one, and the names of the classes. Not
 * here: what is learned from labels, official metrics. */
#ifndef VLM_DATA_LABEL_H
#define VLM_DATA_LABEL_H

#include "data_shard.h"

enum {
    VLM_LABELS_MAX = 32,       /* of a sample */
    VLM_SAMPLE_PICTURES_MAX = 2 /* that a sample is made of */
};

/* KEY.json as far as groups need it: "labels" and "scores", equally long, the scores in (0, 1] and
 * left out for a single label of score 1; "pictures", numbers of samples in the set's folder
 * pictures/. Other keys are for metrics. */
typedef struct vlm_sample_facts {
    int n_labels, n_pictures;
    int32_t label[VLM_LABELS_MAX]; /* no class twice */
    float score[VLM_LABELS_MAX];   /* above 0 */
    int64_t picture[VLM_SAMPLE_PICTURES_MAX];
} vlm_sample_facts;

/* json absent = nothing is said. Labels of score 0 are left out. n_classes: labels lie in [0,
 * n_classes); 0 = labels are passed over. Errors: FORMAT, NOMEM. */
vlmoe_status vlm_sample_facts_read(vlm_bytes json, int64_t n_classes, vlm_sample_facts *out,
                                   vlmoe_error *error);

/* labels.txt: line i is the name of class i. */
typedef struct vlm_classes {
    int64_t n;
    const char **name; /* [n] */
    char *text;        /* what the names point into */
    uint64_t hash;     /* of the names in order */
} vlm_classes;

/* text is copied; path is what messages call it. Errors: FORMAT (an empty or repeated name, not
 * UTF-8, no line), NOMEM. */
vlmoe_status vlm_classes_parse(const char *text, size_t bytes, const char *path, vlm_classes *out,
                               vlmoe_error *error);
/* Errors also: IO. */
vlmoe_status vlm_classes_read(const char *path, vlm_classes *out, vlmoe_error *error);
void vlm_classes_free(vlm_classes *classes); /* zeroes it; a zeroed one is allowed */

/* Errors: ARG, naming both files and the first line that differs. */
vlmoe_status vlm_classes_compare(const vlm_classes *a, const char *a_path, const vlm_classes *b,
                                 const char *b_path, vlmoe_error *error);

#endif
