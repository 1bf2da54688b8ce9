/* Means of scores kept apart by name: VQA by kind of question, MNLI by matched and mismatched. Percentages as the official reports
 * round them, and the spread of a figure over seeds. */
#ifndef VLM_METRIC_NAMED_H
#define VLM_METRIC_NAMED_H

#include "base.h"

typedef struct vlm_named vlm_named;

typedef struct vlm_named_row {
    const char *name; /* belongs to the table */
    int64_t n;        /* scores added */
    double sum;       /* of them, in the order they came */
} vlm_named_row;

vlm_named *vlm_named_create(void); /* NULL when out of memory */
void vlm_named_destroy(vlm_named *named);
/* Add one score, usually 0..1, under a name (bytes decide). Errors: NOMEM; the table is then as before. */
vlmoe_status vlm_named_add(vlm_named *named, const char *name, double score, vlmoe_error *error);
int64_t vlm_named_count(const vlm_named *named);                                     /* names */
const vlm_named_row *vlm_named_row_at(const vlm_named *named, int64_t i);            /* sorted by bytes of the name; until the next add */
const vlm_named_row *vlm_named_find(const vlm_named *named, const char *name);       /* NULL: never seen */

/* 100 * sum / n to two decimals, as Python's round(100 * float(sum) / n, 2) gives it; NaN for n = 0. */
double vlm_percent(double sum, int64_t n);

/* Mean, and standard deviation of a sample (divided by n - 1) of n figures, say of one score over seeds. The deviation of one figure, and
 * both of none, are NaN. */
typedef struct vlm_seed_spread {
    int64_t n;
    double mean, deviation;
} vlm_seed_spread;
vlm_seed_spread vlm_over_seeds(const double *value, int64_t n);

#endif
