/* What vlmoe-eval measures, and how it is shown. */
#ifndef VLM_CLI_EVAL_H
#define VLM_CLI_EVAL_H

#include "cli_model.h"
#include "train_baseline.h"
#include "train_report.h"
#include "train_words.h"

enum { VLM_CLI_MAX_RATES = 16, VLM_CLI_RESAMPLES = 2000, VLM_CLI_RANKED = 10 };
enum { VLM_CLI_MEASURES = VLM_WORDS_FIRST + 1 };

/* The words of pairs at one rate of hiding. */
typedef struct vlm_cli_words {
    double rate;
    int64_t counted[VLM_CLI_MEASURES]; /* pieces, words, first words */
    double share[VLM_CLI_MEASURES][VLM_N_PICTURES];
    double nll[VLM_N_PICTURES];                          /* mean over pieces, nats */
    vlm_interval over[VLM_CLI_MEASURES][VLM_N_PICTURES]; /* right picture minus this one; of
                                                            VLM_PICTURE_RIGHT unused */
    vlm_words_result result;
} vlm_cli_words;

typedef struct vlm_cli_evaluation {
    vlm_cli_model model;
    int64_t limit; /* 0 = none */
    vlmoe_step_report report;
    vlm_tally tally;
    vlm_baseline baseline;
    int n_words;
    vlm_cli_words words[VLM_CLI_MAX_RATES];
} vlm_cli_evaluation;

/* Measure and add to evaluation->words. The text of a failure is the trainer's. */
vlmoe_status vlm_cli_words_run(vlm_cli_evaluation *evaluation, double rate, bool keep_tokens);
void vlm_cli_words_print(const vlm_cli_words *words);
struct vlm_text;
void vlm_cli_words_json(const vlm_cli_words *words, struct vlm_text *out);
/* A JSON line per pair: its text, and what was predicted for each kind of picture. */
vlmoe_status vlm_cli_words_examples(vlm_cli_evaluation *evaluation, const vlm_cli_words *words,
                                    struct vlm_text *out);

/* Predictions of a task on labels in the forms of metric_result.h, of classify the five likeliest
 * classes; of retrieval the lists of the tally. The text of a failure is the trainer's. Errors: ARG (no task), FORMAT (a sample without a
 * name), NOMEM. */
vlmoe_status vlm_cli_results(vlm_cli_evaluation *evaluation, struct vlm_text *out);
/* Retrieval's part of it: lines of docs/FORMATS.md. Errors: FORMAT (a name twice), NOMEM. */
vlmoe_status vlm_cli_ranked(vlm_cli_evaluation *evaluation, struct vlm_text *out);

void vlm_cli_eval_print(const vlm_cli_evaluation *evaluation);
void vlm_cli_eval_json(const vlm_cli_evaluation *evaluation, struct vlm_text *out);
/* A table of the sparse layers of a tally; nothing when there are none. */
void vlm_cli_routing_print(const vlm_tally *tally);

/* ", "key": value" with NaN as null. */
void vlm_cli_json_number(struct vlm_text *out, const char *key, double value);

/* The sub-commands; argv[0] is "vlmoe-eval embed" and so on. */
int vlm_cli_eval_predict(int argc, char **argv); /* likewise: "vlmoe-eval predict" */
int vlm_cli_eval_embed(int argc, char **argv);
int vlm_cli_eval_score(int argc, char **argv);

#endif
