/* An activation by itself, over elements: the same functions that products apply to their results. */
#include "cpu_kernels.h"

VLMK_INLINE vf value_of(const int act, const int dtype, vf x)
{
    if (act == VLMK_ACT_GELU) return vf_gelu_as(x, dtype);
    return act == VLMK_ACT_TANH ? vf_tanh(x) : x;
}

VLMK_INLINE void act_span(const vlmk_act_fwd_args *a, tile_span span, const int act)
{
#define BODY                                                                                       \
    store_at(a->y, D, span.first + i, n, value_of(act, D, load_at(a->pre, D, span.first + i, n)))
    VLMK_BY_DTYPE(a->dtype, VLMK_FOR_LANES(i, n, span.end - span.first, BODY));
#undef BODY
}

static void act_tile(void *arg, int64_t tile, int worker)
{
    const vlmk_act_fwd_args *a = arg;
    (void)worker;
    tile_span span = span_of(tile, TILE_ELEMENTS, a->n);
    if (a->act == VLMK_ACT_GELU) act_span(a, span, VLMK_ACT_GELU);
    else if (a->act == VLMK_ACT_TANH) act_span(a, span, VLMK_ACT_TANH);
    else act_span(a, span, VLMK_ACT_NONE);
}

int VLMK_CPU(act_fwd)(vlmk_env *env, const vlmk_act_fwd_args *args)
{
    vlmk_act_fwd_args a = *args;
    parallel_spans(env, act_tile, &a, a.n, TILE_ELEMENTS);
    return VLMOE_OK;
}
