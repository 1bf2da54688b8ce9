/* Nested spans of time; see base_spans.h. */
#include <stdlib.h>
#include <string.h>
#include "base_spans.h"

void vlm_spans_init(vlm_spans *spans)
{
    *spans = (vlm_spans){.open = -1};
}

void vlm_spans_free(vlm_spans *spans)
{
    free(spans->at);
    vlm_spans_init(spans);
}

static bool grow(vlm_spans *spans)
{
    if (spans->is_full || spans->n_lost) return false;
    if (spans->n < spans->capacity) return true;
    int64_t capacity = spans->capacity ? 2 * spans->capacity : 4096;
    vlm_span *at = realloc(spans->at, (size_t)capacity * sizeof *at);
    spans->is_full = !at;
    if (!at) return false;
    spans->at = at;
    spans->capacity = capacity;
    return true;
}

void vlm_span_begin(vlm_spans *spans, vlm_span_kind kind, const char *name, const char *place,
                    int64_t number)
{
    if (!spans) return;
    if (!grow(spans)) {
        spans->n_lost++;
        return;
    }
    spans->at[spans->n] = (vlm_span){.kind = kind,
                                     .name = name,
                                     .place = place,
                                     .number = number,
                                     .parent = spans->open,
                                     .begin = vlm_now()};
    spans->open = spans->n++;
}

vlm_span *vlm_span_innermost(vlm_spans *spans)
{
    if (!spans || spans->n_lost || spans->open < 0) return NULL;
    return &spans->at[spans->open];
}

void vlm_span_end(vlm_spans *spans)
{
    if (!spans) return;
    if (spans->n_lost) {
        spans->n_lost--;
        return;
    }
    vlm_span *span = vlm_span_innermost(spans);
    if (!span) return;
    span->end = vlm_now();
    spans->open = span->parent;
}

vlm_spans_mark vlm_spans_here(const vlm_spans *spans)
{
    return spans ? (vlm_spans_mark){spans->open, spans->n_lost} : (vlm_spans_mark){-1, 0};
}

void vlm_spans_end_to(vlm_spans *spans, vlm_spans_mark mark)
{
    if (!spans) return;
    while (spans->n_lost > mark.n_lost || spans->open > mark.open) vlm_span_end(spans);
}
