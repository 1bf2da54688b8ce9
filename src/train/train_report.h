/* Sums over the groups of a step or an evaluation, and their turning into a report. */
#ifndef VLM_TRAIN_REPORT_H
#define VLM_TRAIN_REPORT_H

#include "train.h"
#include "train_predict.h"
#include "train_ranked.h"

/* One sparse layer's telemetry over the groups seen. */
typedef struct vlm_layer_sum {
    int64_t block, E, tokens, n;
    char modality;
    double dropped, load_cv, entropy; /* sums over groups, dropped weighted by tokens */
    int64_t *load;                    /* [E] tokens that chose each expert */
    double losses[VLMK_N_LOSSES];
} vlm_layer_sum;

/* What an evaluation of a tuned task found: its metric first. */
enum { VLM_SCORE_NAME_BYTES = 96 };
typedef struct vlm_score {
    char name[VLM_SCORE_NAME_BYTES]; /* UTF-8, no two the same; a part of it may be the data's own words */
    double value;
    bool is_share; /* 0..1 */
} vlm_score;
typedef struct vlm_scores { /* starts zeroed */
    int n, room;
    bool failed; /* out of memory: some are missing */
    vlm_score *at;
} vlm_scores;

typedef struct vlm_tally {
    int64_t groups, samples, cut;
    double loss;                  /* sum over groups of what was minimised */
    double part_loss[VLM_N_PARTS], part_right[VLM_N_PARTS]; /* sums of means (training) or of positions (evaluation) */
    int64_t part_groups[VLM_N_PARTS], part_positions[VLM_N_PARTS];
    double reconstruction, commitment;
    vlm_measures measures;        /* of a tuned task */
    vlm_scores scores;            /* of its evaluation */
    int64_t n_predictions, predictions_room;
    vlm_prediction *predictions;  /* [n_predictions] of its evaluation, in the order of samples */
    int64_t n_ranked;      /* of retrieval: so many of the best candidates of each query are to be kept; 0 = none */
    int64_t n_together[2]; /* of these so many at most, the first ones, were read together with the query */
    vlm_ranked ranked[2];  /* texts of pictures, pictures of texts; numbers in the order of samples */
    int n_layers;
    vlm_layer_sum *layers; /* [n_layers]; NULL until the first group */
} vlm_tally;

void vlm_tally_free(vlm_tally *tally);
void vlm_tally_clear(vlm_tally *tally); /* all sums zero, layers and their memory stay */
/* A share, or a number of another kind; NaN is left out. Long names are cut between characters, and told apart by a number. */
void vlm_scores_put(vlm_scores *scores, double share, const char *format, ...) __attribute__((format(printf, 3, 4)));
void vlm_scores_put_number(vlm_scores *scores, double value, const char *name);
/* Mean of a measure; NaN where nothing was measured. */
double vlm_measure_mean(const vlm_measures *measures, int i);
/* by_position: weigh each group by its masked positions (evaluation); else each group counts the same (training, as the loss does). */
void vlm_tally_parts(vlm_tally *tally, const vlm_part_metrics *metrics, bool by_position);
vlmoe_status vlm_tally_routes(vlm_tally *tally, int n, const vlm_route_stats *stats, vlmoe_error *error);
void vlm_tally_report(const vlm_tally *tally, bool by_position, vlmoe_step_report *out);

/* Copy no more than the caller's struct has room for. */
void vlm_report_out(const vlmoe_step_report *from, vlmoe_step_report *to);

/* One JSON line: kind ("train", "eval"), step, losses, rates, and the telemetry of every sparse layer. */
struct vlm_text;
void vlm_metrics_line(const vlm_task_info *task, const char *kind, const vlmoe_step_report *report, const vlm_tally *tally, struct vlm_text *out);

/* Watches routing over many steps and warns in plain words, once per finding: an expert that no token chose for a whole window, or a
 * layer that sends nearly everything to one expert. */
typedef struct vlm_health vlm_health;
vlm_health *vlm_health_create(void); /* NULL when out of memory */
void vlm_health_destroy(vlm_health *health);
void vlm_health_look(vlm_health *health, const vlm_tally *tally, int64_t step, const vlm_log *log);

#endif
