/* A run as one self-contained page: plain structs in, HTML out. Who fills them is src/cli's business (cli_report_*.c). Everything
 * that is NULL, zero or NaN is left out of the page or said to be missing. */
#ifndef VLM_REPORT_H
#define VLM_REPORT_H

#include "config.h"
#include "report_html.h"
#include "report_metrics.h"

enum {
    VLM_REPORT_GUESSES = 5, /* best words of a hidden place */
    VLM_REPORT_PIECE = 48,  /* bytes of a word piece with its end */
    VLM_REPORT_NAME = 160,
    VLM_REPORT_LAYERS = 64,
    VLM_REPORT_SETS = 4,     /* images, pictures of pairs, words of pairs, texts */
    VLM_REPORT_CROPS = 12,   /* patches shown of an expert */
    VLM_REPORT_WORDS = 14,   /* words shown of an expert */
    VLM_REPORT_EXPERTS = 32, /* experts of a layer that are shown in detail */
    VLM_REPORT_SIDE = 128,   /* longest side in pixels of a picture in the page */
    VLM_REPORT_PICTURES = 2, /* and texts, of a task's example */
    VLM_REPORT_TEXTS = 2
};

/* Which routing set a token belonged to. */
enum { VLM_SET_IMAGES, VLM_SET_PAIR_PICTURES, VLM_SET_PAIR_WORDS, VLM_SET_TEXTS };

/* ---- examples ---- */

typedef struct vlm_report_guess {
    char piece[VLM_REPORT_PIECE];
    double share; /* probability */
    bool is_right;
} vlm_report_guess;

typedef struct vlm_report_token {
    char piece[VLM_REPORT_PIECE]; /* as the text has it */
    bool is_hidden;               /* chosen to be predicted */
    char shown[VLM_REPORT_PIECE]; /* of a hidden one: what the model saw in its place */
    int n_guesses;
    vlm_report_guess guess[VLM_REPORT_GUESSES];
} vlm_report_token;

typedef enum vlm_served { VLM_SERVED_ALL, VLM_SERVED_SOME, VLM_SERVED_NONE } vlm_served;

/* Where one token went in one layer. */
typedef struct vlm_report_route {
    int32_t expert; /* first choice */
    vlm_served served;
    float gate; /* of the first choice, before any renormalisation */
} vlm_report_route;

typedef struct vlm_report_example {
    int stream;      /* 0 image, 1 text, 2 pair */
    int64_t number;  /* of the held-out samples of its stream, from 0 */
    char key[VLM_REPORT_NAME];
    int64_t side;    /* pixels of the pictures below, which are [side, side, 3]; NULL = none */
    uint8_t *picture, *predicted, *decoded; /* itself; from predicted codes; from its own codes */
    int64_t grid;    /* patches on a side */
    uint8_t *hidden; /* [grid grid] */
    int64_t n_hidden, n_right; /* hidden patches, and those whose code was predicted */
    int64_t n_tokens;
    vlm_report_token *tokens;
    /* By layer of vlm_report_model: picture [1 + grid grid], [I_CLS] first, or words [n_tokens]; NULL = not in this layer. */
    vlm_report_route *route[VLM_REPORT_LAYERS];
} vlm_report_example;

/* ---- examples of a tuned task ---- */

/* A class of a task, or a candidate of retrieval: a text or a picture. */
typedef struct vlm_report_answer {
    char *text;       /* NULL: it is a picture */
    uint8_t *picture; /* [side, side, 3] of its question's side; NULL: it is a text */
    double share;     /* of a class its probability, of a candidate its cosine or score */
    double score;     /* 0..1 how right it is */
} vlm_report_answer;

typedef struct vlm_report_question {
    int64_t number; /* of the held-out samples, from 0 */
    char key[VLM_REPORT_NAME];
    int64_t side;   /* pixels of the pictures, which are [side, side, 3] */
    uint8_t *picture[VLM_REPORT_PICTURES];
    char *text[VLM_REPORT_TEXTS];
    char *truth;    /* the right answers in words; NULL = not known */
    int n_answers;
    vlm_report_answer answer[VLM_REPORT_GUESSES]; /* best first */
} vlm_report_question;

/* ---- experts ---- */

typedef struct vlm_report_word {
    char piece[VLM_REPORT_PIECE];
    int64_t n, all; /* of this expert; of all experts */
    double lift;    /* share of the expert's tokens over share of all tokens */
} vlm_report_word;

typedef struct vlm_report_expert {
    int64_t index;
    int64_t hidden, tokens;  /* first choices; hidden: of them hidden places */
    int n_crops, n_words;
    uint8_t *crops;          /* [n_crops, crop_side, crop_side, 3] */
    vlm_report_word words[VLM_REPORT_WORDS];
} vlm_report_expert;

typedef struct vlm_report_layer {
    int64_t block, E;
    char modality;
    int64_t load[VLM_REPORT_SETS], served[VLM_REPORT_SETS]; /* token-choices by set */
    int64_t *expert_load, *expert_served;                  /* [E] over all sets */
    int64_t crop_side;
    int n_experts;
    vlm_report_expert *experts; /* [n_experts] most loaded first */
} vlm_report_layer;

/* ---- what a checkpoint does with held-out data ---- */

typedef struct vlm_report_model {
    int64_t parameters, per_token;
    int64_t samples[3];     /* held-out images, texts, pairs that were looked at */
    int n_examples;
    int n_questions;        /* of a tuned task */
    vlm_report_example *examples;
    vlm_report_question *questions;
    vlm_named_scores scores; /* what the checkpoint reaches, where it was evaluated for the page */
    int64_t codes;          /* of the image tokeniser; 0 = none */
    int64_t *code_count;    /* [codes] patches of held-out pictures */
    double capacity_factor; /* with which tokens were routed; 0 = every token is served */
    int64_t groups;         /* routed */
    bool is_together;       /* of retrieval: the best candidates were read together with their query, and have scores, not cosines */
    bool has_decoder;       /* pictures were decoded from codes */
    bool is_priority;       /* Batch Priority Routing */
    int n_layers;
    vlm_report_layer layers[VLM_REPORT_LAYERS];
} vlm_report_model;

void vlm_report_model_free(vlm_report_model *model);

/* ---- the page ---- */

typedef struct vlm_report {
    const char *name;       /* of the run */
    const char *task, *checkpoint, *ending, *library, *device;
    const char *metrics_path, *metrics_missing; /* missing: why there are no records, NULL = there are */
    const vlmoe_config *config, *standard; /* standard: all defaults; NULL = section left out */
    const vlm_metrics *metrics;
    const vlm_report_model *model; /* NULL = none */
    const char *model_missing;     /* why, in words */
    const char *routes_missing;    /* why there are no routes, NULL = there are */
} vlm_report;

/* The page appended to out; out->failed when memory ran out. Errors: NOMEM. */
vlmoe_status vlm_report_write(const vlm_report *report, vlm_text *out, vlmoe_error *error);

#endif
