/* A recorder of nested spans of time on one thread: what began when, inside what, and how much work it did. It knows nothing of what
 * is measured. A NULL recorder records nothing, so a measured place costs one test when nobody measures. */
#ifndef VLM_BASE_SPANS_H
#define VLM_BASE_SPANS_H

#include "base.h"

typedef enum vlm_span_kind { VLM_SPAN_PHASE, VLM_SPAN_FORWARD, VLM_SPAN_BACKWARD, VLM_SPAN_KERNEL } vlm_span_kind;

typedef struct vlm_span {
    vlm_span_kind kind;
    const char *name;  /* both texts must live until the recorder is read */
    const char *place; /* of an operation: a parameter's name, or a place in the model; NULL = none */
    int64_t number;    /* of a phase: step or group; -1 = none */
    int64_t parent;    /* index; -1 = outermost */
    double begin, end; /* seconds of vlm_now; end 0 = still open */
    double flops, bytes, busy_seconds; /* of a kernel: work, least memory traffic, time summed over workers */
} vlm_span;

typedef struct vlm_spans {
    vlm_span *at;
    int64_t n, capacity;
    int64_t open;  /* innermost open span, -1 = none */
    int64_t n_lost; /* spans begun, and not yet ended, after memory ran out */
    bool is_full;  /* memory ran out: later spans are not recorded */
} vlm_spans;

void vlm_spans_init(vlm_spans *spans);
void vlm_spans_free(vlm_spans *spans);
/* The innermost open span becomes the parent. spans NULL: nothing. */
void vlm_span_begin(vlm_spans *spans, vlm_span_kind kind, const char *name, const char *place, int64_t number);
/* The span that began last; NULL when there is none or it was not recorded. */
vlm_span *vlm_span_innermost(vlm_spans *spans);
void vlm_span_end(vlm_spans *spans);
/* End what began after the mark: whoever may be left early by a failure marks before it begins. */
typedef struct vlm_spans_mark {
    int64_t open, n_lost;
} vlm_spans_mark;
vlm_spans_mark vlm_spans_here(const vlm_spans *spans);
void vlm_spans_end_to(vlm_spans *spans, vlm_spans_mark mark);

#endif
