/* The image tokeniser (BEiT v2, Peng et al. 2022): ViT encoder, projection to unit codes, code
 * book with moving averages, decoder that regresses a target from the codes. The target is the
 * normalised pixels of each patch (mean and deviation of the patch removed). */
#ifndef VLM_MODEL_TOKENISER_H
#define VLM_MODEL_TOKENISER_H

#include "config.h"
#include "nn.h"

typedef struct vlm_tokeniser vlm_tokeniser;

/* trained = false: frozen, for use as a target maker. Code book and its averages are not
 * parameters: they live in the model. Names: prefix + docs/FORMATS.md's, prefix "" alone or
 * "image_tokeniser." inside another context. */
vlmoe_status vlm_tokeniser_create(vlmoe_context *ctx, const vlmoe_config *config, bool trained,
                                  vlm_tokeniser **out);
void vlm_tokeniser_destroy(vlm_tokeniser *model);

/* Training forward on n pictures [n, S, S, 3]: adds reconstruction and commitment to the tape's
 * loss. Call vlm_tokeniser_update after the optimiser's step of the same step. */
typedef struct vlm_tokeniser_losses {
    vlmoe_tensor *reconstruction, *commitment; /* one element each, unweighted: mean over patches */
} vlm_tokeniser_losses;
void vlm_tokeniser_loss(vlmoe_tape *tape, vlm_tokeniser *model, int64_t n, const uint8_t *pixels,
                        vlm_tokeniser_losses *out);

/* Code book: the sums of each group are collected in group order (vlm_tokeniser_collect after
 * each group's forward), then one update per step: n = ema n + (1-ema) count, s = ema s +
 * (1-ema) sum, code = s / |s|; dead codes take a random feature of the step. start: k-means
 * (cosine) on the first step's features, before its first loss. All in wide, deterministic. */
vlmoe_status vlm_tokeniser_start(vlm_tokeniser *model, int64_t n, const uint8_t *pixels);
vlmoe_status vlm_tokeniser_collect(vlmoe_tape *tape, vlm_tokeniser *model);
/* The two halves of collect, for groups that were recorded elsewhere: what this recording's pictures chose (borrowed from the model
 * until its next call), and adding what any group chose. */
typedef struct vlm_code_choices {
    int64_t n;
    const double *feature; /* [n, code_dim] */
    const int32_t *code;   /* [n] in [0, codes) */
} vlm_code_choices;
vlmoe_status vlm_tokeniser_fetch(vlmoe_tape *tape, vlm_tokeniser *model, vlm_code_choices *out);
vlmoe_status vlm_tokeniser_add(vlm_tokeniser *model, const vlm_code_choices *choices);
vlmoe_status vlm_tokeniser_update(vlm_tokeniser *model, int64_t step);

/* Codes of n pictures, PREDICT mode: out [n, P] i32 on the host. Features depend on each picture
 * alone. */
vlmoe_status vlm_tokeniser_codes(vlm_tokeniser *model, int64_t n, const uint8_t *pixels,
                                 int32_t *out);
/* Normalised patches regressed from codes [n, P]: out [n, P, 3 patch patch] f32, for pictures in
 * reports. */
vlmoe_status vlm_tokeniser_decode(vlm_tokeniser *model, int64_t n, const int32_t *codes,
                                  float *out);

/* State outside the parameter list: code [codes, code_dim], count [codes], sum [codes,
 * code_dim], started flag; f32 on the host, so that a checkpoint holds all of it. state_set
 * copies and refreshes the device's codes. usage: share of codes with a moving count above
 * revive_below of the mean. */
typedef struct vlm_codebook_state {
    int64_t codes, code_dim;
    float *code, *count, *sum; /* out: borrowed from the model */
    bool started;
} vlm_codebook_state;
vlmoe_status vlm_tokeniser_state(vlm_tokeniser *model, vlm_codebook_state *out);
vlmoe_status vlm_tokeniser_state_set(vlm_tokeniser *model, const vlm_codebook_state *state);
double vlm_tokeniser_usage(const vlm_tokeniser *model);

#endif
