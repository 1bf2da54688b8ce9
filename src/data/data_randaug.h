/* RandAugment: a few operations drawn from ten, on u8 pixels, with Pillow's arithmetic byte for
 * byte. Not here: crops, mirroring and jitter (data_image.h). */
#ifndef VLM_DATA_RANDAUG_H
#define VLM_DATA_RANDAUG_H

#include "data_image.h"

/* The ten of VLMo's and BEiT-3's fine-tuning. With s = magnitude / 10:
 *   brightness, sharpness   factor 0.1 + 1.8 s
 *   shear                   0.3 s of the other coordinate, from the upper left corner
 *   translate               10 s pixels
 *   rotate                  30 s degrees about the centre
 * The last five go either way. They read between pixels bilinearly; what comes from outside is grey
 * (128). */
typedef enum vlm_randaug_op {
    VLM_RANDAUG_IDENTITY,
    VLM_RANDAUG_AUTOCONTRAST,
    VLM_RANDAUG_EQUALIZE,
    VLM_RANDAUG_BRIGHTNESS,
    VLM_RANDAUG_SHARPNESS,
    VLM_RANDAUG_SHEAR_X,
    VLM_RANDAUG_SHEAR_Y,
    VLM_RANDAUG_TRANSLATE_X,
    VLM_RANDAUG_TRANSLATE_Y,
    VLM_RANDAUG_ROTATE,
    VLM_RANDAUG_OPS
} vlm_randaug_op;

typedef struct vlm_randaug {
    int n;            /* operations on a picture; 0 = none */
    double magnitude; /* 0..10 */
} vlm_randaug;

/* n times: an operation drawn evenly, done with probability 1/2. In place. Errors: NOMEM. */
vlmoe_status vlm_randaug_apply(const vlm_randaug *params, const vlm_image *image, vlm_rng *rng,
                               vlm_workspace *workspace, vlmoe_error *error);

/* One operation; turned: the other way. Errors: NOMEM. */
vlmoe_status vlm_randaug_one(vlm_randaug_op op, double magnitude, bool is_turned,
                             const vlm_image *image, vlm_workspace *workspace, vlmoe_error *error);

#endif
