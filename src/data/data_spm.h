/* Text to token ids and back, by a SentencePiece model. The only C++ of the project is data_spm.cc. Thread-safe once open. */
#ifndef VLM_DATA_SPM_H
#define VLM_DATA_SPM_H

#include "base.h"
#include "data_shard.h"

typedef struct vlm_spm vlm_spm;

/* Ids of the model's own pieces come first; pieces that a model lacks are appended: so every model has all four. */
typedef struct vlm_spm_ids {
    int32_t n;    /* vocabulary with the appended pieces */
    int32_t cls;  /* [CLS] */
    int32_t sep;  /* [SEP] */
    int32_t mask; /* [MASK] */
    int32_t pad;  /* [PAD]: never in a group, kept for other tools */
} vlm_spm_ids;

vlmoe_status vlm_spm_open(const char *path, vlm_spm **out, vlmoe_error *error);
void vlm_spm_close(vlm_spm *spm); /* NULL allowed */
vlm_spm_ids vlm_spm_special(const vlm_spm *spm);
uint64_t vlm_spm_hash(const vlm_spm *spm); /* of the model file's bytes */
/* [CLS] tokens [SEP] into ids (capacity of ids: limit). *n_all = tokens there would be without the limit, [CLS] and [SEP] counted;
 * a longer text keeps its first limit - 2 tokens. Text is NFKC-normalised by the model's own rules; invalid UTF-8 is FORMAT. */
vlmoe_status vlm_spm_encode(const vlm_spm *spm, const char *text, size_t bytes, int64_t limit, int32_t *ids, int64_t *n, int64_t *n_all, vlmoe_error *error);
/* The same of two texts a and b: [CLS] a [SEP] b [SEP]. Over the limit, tokens go from the end of whichever is longer at the moment, of b where both
 * are as long. limit >= 3. */
vlmoe_status vlm_spm_encode_pair(const vlm_spm *spm, const vlm_bytes texts[2], int64_t limit, int32_t *ids, int64_t *n, int64_t *n_all, vlmoe_error *error);
/* The piece of an id as UTF-8, e.g. "\xe2\x96\x81dog" or "[MASK]"; "" when out of range. Valid while spm is open. */
const char *vlm_spm_piece(const vlm_spm *spm, int32_t id);
bool vlm_spm_starts_word(const vlm_spm *spm, int32_t id); /* piece begins with U+2581 */
/* Text of ids, special pieces left out. Caller frees with vlm_free; NULL = no memory. */
char *vlm_spm_decode(const vlm_spm *spm, const int32_t *ids, int64_t n);
/* Unigram training on files of one sentence a line; [CLS] [SEP] [MASK] [PAD] are in the model; deterministic. */
vlmoe_status vlm_spm_train(const char *const *files, int n_files, int vocab_size, const char *model_out, vlmoe_error *error);

#endif
