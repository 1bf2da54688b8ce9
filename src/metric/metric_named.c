/* Sums by name, percentages, spread over seeds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "metric_named.h"

struct vlm_named {
    int64_t n, capacity;
    vlm_named_row *row; /* [n], sorted by name, so that any number of names is found quickly */
};

vlm_named *vlm_named_create(void)
{
    return vlm_alloc(sizeof(vlm_named));
}

void vlm_named_destroy(vlm_named *named)
{
    if (!named) return;
    for (int64_t i = 0; i < named->n; i++) vlm_free((char *)named->row[i].name);
    vlm_free(named->row);
    vlm_free(named);
}

/* Where name stands, or would. */
static int64_t place_of(const vlm_named *named, const char *name, bool *is_there)
{
    int64_t low = 0, high = named->n;
    *is_there = false;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = strcmp(named->row[middle].name, name);
        if (order == 0) {
            *is_there = true;
            return middle;
        }
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return low;
}

static bool make_room(vlm_named *named)
{
    if (named->n < named->capacity) return true;
    int64_t capacity = VLM_MAX(8, 2 * named->capacity);
    vlm_named_row *row = vlm_alloc_array((size_t)capacity, sizeof *row);
    if (!row) return false;
    if (named->n) memcpy(row, named->row, (size_t)named->n * sizeof *row);
    vlm_free(named->row);
    named->row = row;
    named->capacity = capacity;
    return true;
}

vlmoe_status vlm_named_add(vlm_named *named, const char *name, double score, vlmoe_error *error)
{
    bool is_there;
    int64_t at = place_of(named, name, &is_there);
    if (!is_there) {
        char *copy = vlm_strdup(name);
        if (!copy || !make_room(named)) {
            vlm_free(copy);
            return vlm_fail(error, VLMOE_E_NOMEM, "no memory for one more name in a score");
        }
        memmove(named->row + at + 1, named->row + at, (size_t)(named->n - at) * sizeof *named->row);
        named->row[at] = (vlm_named_row){.name = copy};
        named->n++;
    }
    named->row[at].n++;
    named->row[at].sum += score;
    return VLMOE_OK;
}

int64_t vlm_named_count(const vlm_named *named)
{
    return named->n;
}

const vlm_named_row *vlm_named_row_at(const vlm_named *named, int64_t i)
{
    return &named->row[i];
}

const vlm_named_row *vlm_named_find(const vlm_named *named, const char *name)
{
    bool is_there;
    int64_t at = place_of(named, name, &is_there);
    return is_there ? &named->row[at] : NULL;
}

/* printf rounds the exact value of a double to the nearest decimal, a half to even, and so does Python's round. */
double vlm_percent(double sum, int64_t n)
{
    if (n < 1) return NAN;
    double value = 100.0 * sum / (double)n;
    char digits[64];
    if (!(fabs(value) < 1e15)) return value;
    snprintf(digits, sizeof digits, "%.2f", value);
    return strtod(digits, NULL);
}

vlm_seed_spread vlm_over_seeds(const double *value, int64_t n)
{
    vlm_seed_spread spread = {.n = n, .mean = NAN, .deviation = NAN};
    if (n < 1) return spread;
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++) sum += value[i];
    spread.mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double off = value[i] - spread.mean;
        squares += off * off;
    }
    if (n > 1) spread.deviation = sqrt(squares / (double)(n - 1));
    return spread;
}
