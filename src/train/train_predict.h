/* What a task says of samples: the numbers beside its loss, and the classes it finds likeliest. */
#ifndef VLM_TRAIN_PREDICT_H
#define VLM_TRAIN_PREDICT_H

#include "train_record.h"

/* Sums over samples of what a tuned task, or the contrastive part of pretraining, measures in every group, and over how many. */
enum { VLM_N_MEASURES = 6 };
typedef struct vlm_measures {
    double sum[VLM_N_MEASURES], n[VLM_N_MEASURES];
} vlm_measures;
const char *vlm_measure_name(const vlm_task_info *task, int i); /* NULL: no such measure */
bool vlm_measure_is_share(const vlm_task_info *task, int i);   /* 0..1 */

/* What logits [classes] of a sample say of each class: softmax, or (is_apart, as in vqa) each class's own sigmoid. */
typedef struct vlm_shares {
    double most, sum;
    bool is_apart;
} vlm_shares;
vlm_shares vlm_shares_of(const double *logits, int64_t classes, bool is_apart);
double vlm_share(const vlm_shares *shares, double logit);

/* The classes that a sample's logits find likeliest: the largest logit first, equal ones in the order of classes. */
enum { VLM_TOP = 5 };
typedef struct vlm_prediction {
    int64_t sample;     /* number in its stream */
    int32_t n;          /* classes listed */
    int32_t label[VLM_TOP];
    float share[VLM_TOP]; /* softmax; of vqa each class's own sigmoid */
} vlm_prediction;

/* After the forward. */
vlmoe_status vlm_measures_read(vlmoe_tape *tape, const vlm_models *models, const vlm_recording *recording, const vlm_group *group, vlm_measures *out);
/* logits [classes] of one sample; is_apart: sigmoids. out->sample is left alone. */
void vlm_prediction_make(const double *logits, int64_t classes, bool is_apart, vlm_prediction *out);
/* One for each sample of a recorded group (not of retrieval): out [n], host memory of the recording. */
vlmoe_status vlm_predictions_read(vlmoe_tape *tape, const vlm_models *models, const vlm_recording *recording, const vlm_group *group,
                                  int64_t *n, vlm_prediction **out);

#endif
