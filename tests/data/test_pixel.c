/* The pixel loops of every instruction set against plain loops, byte for byte, at sizes around a
 * vector's. */
#include <stdlib.h>
#include <string.h>
#include "base.h"
#include "base_rng.h"
#include "data_pixel.h"
#include "harness.h"

static const char *const names[] = {"base", "avx2", "avx512"};
static const int64_t sizes[] = {1, 2, 5, 15, 16, 17, 31, 33, 63, 64, 65, 130};

static void fill(uint8_t *bytes, size_t n, uint64_t seed)
{
    vlm_rng rng = vlm_rng_at(seed, VLM_STREAM_TEST, n, 0, 0);
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)vlm_rng_u32(&rng);
    for (size_t i = 0; i < n; i += 7) bytes[i] = i % 2 ? 255 : 0; /* what overshoots most */
}

static uint8_t plain_blend(int from, int to, float factor)
{
    float v = (float)from + factor * (float)(to - from);
    return (uint8_t)(v <= 0.0f ? 0.0f : v >= 255.0f ? 255.0f : v);
}

static int plain_luma(const uint8_t *p)
{
    return (p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16;
}

/* Bytes in front of and behind the pixels must stay. */
enum { FENCE = 64, ROOM = 3 * 130 };
typedef struct fenced {
    uint8_t all[FENCE + ROOM + FENCE];
} fenced;

static void check_equal(const char *set, const char *what, int64_t n, const fenced *got,
                        const fenced *want)
{
    for (int i = 0; i < FENCE + ROOM + FENCE; i++)
        if (got->all[i] != want->all[i])
            test_fail(__FILE__, __LINE__, "%s, %s of %lld: byte %d is %d, expected %d", set, what,
                      (long long)n, i - FENCE, got->all[i], want->all[i]);
}

static void check_colours(const vlm_pixel_set *set, int64_t n, float factor)
{
    fenced before, got, want;
    fill(before.all, sizeof before.all, 1);
    uint8_t *g = got.all + FENCE, *w = want.all + FENCE;

    got = want = before;
    set->blend(g, n * 3, 90, factor);
    for (int64_t i = 0; i < n * 3; i++) w[i] = plain_blend(90, w[i], factor);
    check_equal(set->name, "blend", n, &got, &want);

    got = want = before;
    set->saturate(g, n, factor);
    for (int64_t i = 0; i < n * 3; i++) {
        const uint8_t *p = before.all + FENCE + i / 3 * 3;
        w[i] = plain_blend(plain_luma(p), w[i], factor);
    }
    check_equal(set->name, "saturate", n, &got, &want);

    got = want = before;
    set->mirror(g, n);
    for (int64_t i = 0; i < n; i++) memcpy(w + i * 3, before.all + FENCE + (n - 1 - i) * 3, 3);
    check_equal(set->name, "mirror", n, &got, &want);

    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++) sum += plain_luma(g + i * 3);
    CHECK_INT(set->luma_sum(g, n), sum);
}

TEST(pixel_colours_of_every_set_equal_plain_loops)
{
    static const float factors[] = {0.0f, 0.3f, 1.0f, 1.4f, 101.0f};
    int n_sets = 0;
    for (int s = 0; s < VLM_COUNT(names); s++) {
        const vlm_pixel_set *set = vlm_pixel_named(names[s]);
        if (!set) continue;
        n_sets++;
        for (int i = 0; i < VLM_COUNT(sizes); i++)
            for (int k = 0; k < VLM_COUNT(factors); k++) check_colours(set, sizes[i], factors[k]);
    }
    CHECK(n_sets >= 1);
    CHECK(!vlm_pixel_named("none"));
}

/* ---- Resize ---- */

enum { IN_MAX = 200, TAPS = 7 };
typedef struct windows {
    int32_t first[130], count[130], weight[130 * TAPS];
    vlm_axis axis;
} windows;

/* n windows of 1 to TAPS weights over n_in inputs, which only move forward; signs mixed, sums of up to 1.75 in fixed point. */
static void make_windows(windows *w, int64_t n, int64_t n_in)
{
    vlm_rng rng = vlm_rng_at(3, VLM_STREAM_TEST, (uint64_t)n, (uint64_t)n_in, 0);
    w->axis = (vlm_axis){n, TAPS, w->first, w->count, w->weight};
    for (int64_t i = 0; i < n; i++) {
        w->first[i] = (int32_t)(n_in > TAPS ? i * (n_in - TAPS) / n : 0);
        w->count[i] = (int32_t)VLM_MIN(n_in, 1 + i % TAPS);
        if (i == n - 1)
            w->count[i] = (int32_t)(n_in - w->first[i] < TAPS ? n_in - w->first[i] : TAPS);
        for (int j = 0; j < TAPS; j++)
            w->weight[i * TAPS + j] = (int32_t)vlm_rng_below(&rng, 1 << 20) - (1 << 18);
    }
}

static uint8_t plain_sum(const windows *w, int64_t i, const uint8_t *in, int64_t step)
{
    int32_t sum = 1 << (VLM_PIXEL_FRACTION - 1);
    for (int32_t j = 0; j < w->count[i]; j++)
        sum += w->weight[i * TAPS + j] * in[(w->first[i] + j) * step];
    sum >>= VLM_PIXEL_FRACTION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void check_across(const vlm_pixel_set *set, int64_t n, int64_t n_in)
{
    windows w;
    make_windows(&w, n, n_in);
    const size_t stride = vlm_round_up((size_t)n * 3, VLM_PIXEL_PAD);
    uint8_t *columns = malloc(vlm_round_up((size_t)n_in * 3, VLM_PIXEL_ROWS) * VLM_PIXEL_ROWS);
    uint8_t *out = malloc(stride * VLM_PIXEL_ROWS), *in[VLM_PIXEL_ROWS];
    for (int r = 0; r < VLM_PIXEL_ROWS;
         r++) { /* own blocks, so that a sanitizer sees a read behind */
        in[r] = malloc((size_t)n_in * 3);
        fill(in[r], (size_t)n_in * 3, (uint64_t)r);
    }
    set->across(&w.axis, (const uint8_t *const *)in, columns, out, (int64_t)stride);
    for (int r = 0; r < VLM_PIXEL_ROWS; r++)
        for (int64_t i = 0; i < n * 3; i++)
            CHECK_INT(out[(size_t)r * stride + (size_t)i], plain_sum(&w, i / 3, in[r] + i % 3, 3));
    for (int r = 0; r < VLM_PIXEL_ROWS; r++) free(in[r]);
    free(columns);
    free(out);
}

static void check_down(const vlm_pixel_set *set, int64_t n, int64_t n_in)
{
    enum { OUT = 9 };
    windows w;
    make_windows(&w, OUT, n_in);
    const size_t stride = vlm_round_up((size_t)n, VLM_PIXEL_PAD);
    uint8_t *rows = malloc(stride * (size_t)n_in), *out = malloc((size_t)n);
    fill(rows, stride * (size_t)n_in, 5);
    for (int64_t i = 0; i < OUT; i++) {
        set->down(&w.axis, i, rows, (int64_t)stride, n, out);
        for (int64_t x = 0; x < n; x++)
            CHECK_INT(out[x], plain_sum(&w, i, rows + x, (int64_t)stride));
    }
    free(rows);
    free(out);
}

TEST(pixel_resize_of_every_set_equals_plain_loops)
{
    for (int s = 0; s < VLM_COUNT(names); s++) {
        const vlm_pixel_set *set = vlm_pixel_named(names[s]);
        if (!set) continue;
        for (int i = 0; i < VLM_COUNT(sizes); i++)
            for (int k = 0; k < VLM_COUNT(sizes); k++) {
                check_across(set, sizes[i], sizes[k]);
                check_down(set, sizes[i] * 3, sizes[k]);
            }
    }
}
