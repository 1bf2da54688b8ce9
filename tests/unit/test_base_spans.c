/* Nested spans: who is whose parent, what an early return leaves behind, and what happens when memory runs out. */
#include "base_spans.h"
#include "harness.h"

TEST(a_span_belongs_to_the_one_it_began_in)
{
    vlm_spans s;
    vlm_spans_init(&s);
    vlm_span_begin(&s, VLM_SPAN_PHASE, "step", NULL, 7);
    vlm_span_begin(&s, VLM_SPAN_FORWARD, "linear", "w", -1);
    vlm_span_begin(&s, VLM_SPAN_KERNEL, "linear_fwd", NULL, -1);
    vlm_span_innermost(&s)->flops = 3.0;
    vlm_span_end(&s);
    vlm_span_end(&s);
    vlm_span_begin(&s, VLM_SPAN_FORWARD, "add", "", -1);
    vlm_span_end(&s);
    vlm_span_end(&s);
    CHECK_INT(s.n, 4);
    CHECK_INT(s.at[0].parent, -1);
    CHECK_INT(s.at[1].parent, 0);
    CHECK_INT(s.at[2].parent, 1);
    CHECK_INT(s.at[3].parent, 0);
    CHECK_INT(s.at[0].number, 7);
    CHECK_CLOSE(s.at[2].flops, 3.0, 0.0);
    for (int64_t i = 1; i < s.n; i++) { /* a child lies inside its parent */
        CHECK(s.at[i].begin >= s.at[s.at[i].parent].begin);
        CHECK(s.at[i].end >= s.at[i].begin && s.at[i].end <= s.at[s.at[i].parent].end);
    }
    CHECK(vlm_span_innermost(&s) == NULL);
    vlm_spans_free(&s);
}

TEST(spans_left_open_end_at_the_mark)
{
    vlm_spans s;
    vlm_spans_init(&s);
    vlm_span_begin(&s, VLM_SPAN_PHASE, "run", NULL, -1);
    const vlm_spans_mark mark = vlm_spans_here(&s);
    vlm_span_begin(&s, VLM_SPAN_PHASE, "step", NULL, -1);
    vlm_span_begin(&s, VLM_SPAN_PHASE, "forward", NULL, -1); /* and returns without an end */
    vlm_spans_end_to(&s, mark);
    CHECK_INT(s.open, 0);
    CHECK(s.at[1].end > 0.0 && s.at[2].end > 0.0);
    CHECK(s.at[0].end == 0.0);
    vlm_spans_free(&s);
}

TEST(after_memory_ran_out_ends_still_match_their_beginnings)
{
    vlm_spans s;
    vlm_spans_init(&s);
    vlm_span_begin(&s, VLM_SPAN_PHASE, "step", NULL, -1);
    s.is_full = true;
    vlm_span_begin(&s, VLM_SPAN_PHASE, "lost", NULL, -1);
    const vlm_spans_mark mark = vlm_spans_here(&s);
    vlm_span_begin(&s, VLM_SPAN_KERNEL, "lost too", NULL, -1);
    CHECK(vlm_span_innermost(&s) == NULL);
    vlm_spans_end_to(&s, mark);
    vlm_span_end(&s);
    CHECK_INT(s.n, 1);
    CHECK(s.at[0].end == 0.0);
    CHECK(vlm_span_innermost(&s) == &s.at[0]);
    vlm_span_end(&s);
    CHECK(s.at[0].end > 0.0);
    vlm_spans_free(&s);
}

TEST(without_a_recorder_nothing_happens)
{
    vlm_span_begin(NULL, VLM_SPAN_PHASE, "step", NULL, -1);
    CHECK(vlm_span_innermost(NULL) == NULL);
    vlm_spans_end_to(NULL, vlm_spans_here(NULL));
    vlm_span_end(NULL);
}
