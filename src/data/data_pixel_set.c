/* Loops over pixels for one instruction set: the build compiles this file once for each, with
 * VLM_PIXEL_SET its name. Sixteen lanes everywhere, as wide as the machine makes them; a tail is a
 * copy of the body on padded memory. */
#include "data_pixel.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16, PIXEL_BYTES = LANES * 3 };
typedef uint8_t bytes_of __attribute__((vector_size(LANES)));
typedef int32_t ints __attribute__((vector_size(LANES * 4)));
typedef float floats __attribute__((vector_size(LANES * 4)));

/* Vectors go by address: by value their ABI would differ between sets. */
INLINE void load(const uint8_t *from, ints *out)
{
#if defined(__AVX512BW__)
    *out = (ints)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from));
#elif defined(__AVX2__)
    __m256i half[2];
    for (int k = 0; k < 2; k++)
        half[k] = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(from + 8 * k)));
    memcpy(out, half, sizeof *out);
#else
    for (int i = 0; i < LANES; i++) (*out)[i] = from[i];
#endif
}

/* Cut to 0..255. */
INLINE void store(const ints *v, uint8_t *to)
{
#if defined(__AVX512BW__)
    __m512i positive = _mm512_max_epi32((__m512i)*v, _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(positive));
#elif defined(__x86_64__)
    __m128i part[4];
    memcpy(part, v, sizeof part);
    __m128i low = _mm_packs_epi32(part[0], part[1]), high = _mm_packs_epi32(part[2], part[3]);
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi16(low, high));
#else
    for (int i = 0; i < LANES; i++)
        to[i] = (uint8_t)((*v)[i] < 0 ? 0 : (*v)[i] > 255 ? 255 : (*v)[i]);
#endif
}

/* ---- Resize ---- */

/* Bytes [16 rows][16] to [16 columns][16 rows], in place: four perfect shuffles. */
INLINE void transpose(bytes_of *a)
{
#if defined(__x86_64__)
    for (int pass = 0; pass < 4; pass++) {
        bytes_of b[LANES];
        for (int i = 0; i < LANES / 2; i++) {
            b[2 * i] = (bytes_of)_mm_unpacklo_epi8((__m128i)a[i], (__m128i)a[i + LANES / 2]);
            b[2 * i + 1] = (bytes_of)_mm_unpackhi_epi8((__m128i)a[i], (__m128i)a[i + LANES / 2]);
        }
        for (int i = 0; i < LANES; i++) a[i] = b[i];
    }
#else
    bytes_of b[LANES];
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < LANES; j++) b[j][i] = a[i][j];
    for (int i = 0; i < LANES; i++) a[i] = b[i];
#endif
}

/* Bytes [begin, end) of 16 rows as columns of 16. */
static void turn_in(const uint8_t *const *rows, int64_t begin, int64_t end, uint8_t *columns)
{
    bytes_of a[LANES];
    for (int64_t at = begin; at < end; at += LANES, columns += sizeof a) {
        int64_t n = end - at;
        if (n >= LANES) {
            for (int r = 0; r < LANES; r++) memcpy(&a[r], rows[r] + at, LANES);
        } else { /* a picture's last bytes may be the last of its memory */
            memset(a, 0, sizeof a);
            for (int r = 0; r < LANES; r++) memcpy(&a[r], rows[r] + at, (size_t)n);
        }
        transpose(a);
        memcpy(columns, a, sizeof a);
    }
}

/* The three channels of an output pixel, 16 rows each. */
INLINE void window(const int32_t *weight, int32_t count, const uint8_t *columns, ints *out)
{
    const ints half = (ints){0} + (1 << (VLM_PIXEL_FRACTION - 1));
    ints sum[3] = {half, half, half};
    for (int32_t j = 0; j < count; j++, columns += 3 * LANES)
        for (int c = 0; c < 3; c++) {
            ints v;
            load(columns + c * LANES, &v);
            sum[c] += v * weight[j];
        }
    for (int c = 0; c < 3; c++) out[c] = sum[c] >> VLM_PIXEL_FRACTION;
}

static void across(const vlm_axis *axis, const uint8_t *const *rows, uint8_t *columns, uint8_t *out,
                   int64_t out_stride)
{
    const int64_t first = axis->first[0], last = axis->n - 1;
    turn_in(rows, first * 3, (axis->first[last] + axis->count[last]) * 3, columns);
    for (int64_t begin = 0; begin < axis->n;
         begin += LANES) { /* 16 pixels are 3 squares of bytes */
        bytes_of square[3][LANES] = {{{0}}};
        int64_t n = axis->n - begin < LANES ? axis->n - begin : LANES;
        for (int64_t i = 0; i < n; i++) {
            ints pixel[3];
            const uint8_t *from = columns + (axis->first[begin + i] - first) * 3 * LANES;
            window(axis->weight + (begin + i) * axis->width, axis->count[begin + i], from, pixel);
            for (int c = 0; c < 3; c++) store(&pixel[c], (uint8_t *)square + (i * 3 + c) * LANES);
        }
        for (int k = 0; k < 3; k++) {
            int64_t at = begin * 3 + k * LANES;
            if (at >= out_stride) break;
            transpose(square[k]);
            for (int r = 0; r < LANES; r++) memcpy(out + r * out_stride + at, &square[k][r], LANES);
        }
    }
}

static void down(const vlm_axis *axis, int64_t i, const uint8_t *rows, int64_t stride, int64_t n,
                 uint8_t *out)
{
    enum { PARTS = VLM_PIXEL_PAD / LANES };
    const int32_t *weight = axis->weight + i * axis->width, count = axis->count[i];
    rows += (axis->first[i] - axis->first[0]) * stride;
    for (int64_t x = 0; x < n; x += VLM_PIXEL_PAD) {
        uint8_t done[VLM_PIXEL_PAD];
        const ints half = (ints){0} + (1 << (VLM_PIXEL_FRACTION - 1));
        ints sum[PARTS] = {half, half, half, half};
        for (int32_t j = 0; j < count; j++)
            for (int k = 0; k < PARTS; k++) {
                ints v;
                load(rows + j * stride + x + k * LANES, &v);
                sum[k] += v * weight[j];
            }
        for (int k = 0; k < PARTS; k++) {
            sum[k] >>= VLM_PIXEL_FRACTION;
            store(&sum[k], done + k * LANES);
        }
        if (n - x >= VLM_PIXEL_PAD) memcpy(out + x, done, sizeof done);
        else memcpy(out + x, done, (size_t)(n - x));
    }
}

/* ---- Colour ---- */

INLINE void clip(ints *v)
{
#if defined(__AVX512BW__)
    __m512i positive = _mm512_max_epi32((__m512i)*v, _mm512_setzero_si512());
    *v = (ints)_mm512_min_epi32(positive, _mm512_set1_epi32(255));
#else
    ints positive = *v & (*v > 0), over = positive > 255;
    *v = (positive & ~over) | (over & 255);
#endif
}

/* from + factor (v - from), as Pillow blends in f32 and cuts off the fraction. Not clipped: below 1 a
 * fraction is cut towards 0, so clipping afterwards gives what clipping before does. */
INLINE void blend_lanes(const floats *from, float factor, ints *v)
{
    floats to = __builtin_convertvector(*v, floats);
    *v = __builtin_convertvector(*from + factor * (to - *from), ints);
}

static void blend(uint8_t *bytes, int64_t n, int from, float factor)
{
    const floats base = (floats){0} + (float)from;
    for (int64_t i = 0; i < n; i += LANES) {
        uint8_t tail[LANES] = {0}, *at = n - i < LANES ? tail : bytes + i;
        ints v;
        if (at == tail) memcpy(tail, bytes + i, (size_t)(n - i));
        load(at, &v);
        blend_lanes(&base, factor, &v);
        store(&v, at);
        if (at == tail) memcpy(bytes + i, tail, (size_t)(n - i));
    }
}

/* 16 pixels to lanes of red | green << 8 | blue << 16. */
INLINE void load_pixels(const uint8_t *from, ints *out)
{
#if defined(__AVX512BW__)
    const __m512i dwords = _mm512_set_epi32(0, 11, 10, 9, 0, 8, 7, 6, 0, 5, 4, 3, 0, 2, 1, 0);
    const __m512i spread =
        _mm512_broadcast_i32x4(_mm_set_epi8(-1, 11, 10, 9, -1, 8, 7, 6, -1, 5, 4, 3, -1, 2, 1, 0));
    __m512i v = _mm512_maskz_loadu_epi32(0xfff, from);
    *out = (ints)_mm512_shuffle_epi8(_mm512_permutexvar_epi32(dwords, v), spread);
#elif defined(__AVX2__)
    const __m128i spread = _mm_set_epi8(-1, 11, 10, 9, -1, 8, 7, 6, -1, 5, 4, 3, -1, 2, 1, 0);
    const __m128i tail = _mm_set_epi8(-1, 15, 14, 13, -1, 12, 11, 10, -1, 9, 8, 7, -1, 6, 5, 4);
    __m128i part[4];
    for (int k = 0; k < 3; k++)
        part[k] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(from + 12 * k)), spread);
    part[3] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(from + 32)), tail);
    memcpy(out, part, sizeof *out);
#else
    for (int i = 0; i < LANES; i++)
        (*out)[i] = from[i * 3] | from[i * 3 + 1] << 8 | from[i * 3 + 2] << 16;
#endif
}

INLINE void store_pixels(const ints *v, uint8_t *to)
{
#if defined(__AVX512BW__)
    const __m512i dwords = _mm512_set_epi32(0, 0, 0, 0, 14, 13, 12, 10, 9, 8, 6, 5, 4, 2, 1, 0);
    const __m512i pack = _mm512_broadcast_i32x4(
        _mm_set_epi8(-1, -1, -1, -1, 14, 13, 12, 10, 9, 8, 6, 5, 4, 2, 1, 0));
    __m512i packed = _mm512_shuffle_epi8((__m512i)*v, pack);
    packed = _mm512_permutexvar_epi32(dwords, packed);
    /* Not one masked store: the next load would wait for its masked part. */
    _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(packed));
    _mm_storeu_si128((__m128i *)(to + 32), _mm512_extracti32x4_epi32(packed, 2));
#else
    for (int i = 0; i < LANES; i++)
        for (int c = 0; c < 3; c++) to[i * 3 + c] = (uint8_t)((*v)[i] >> 8 * c);
#endif
}

/* ITU-R 601 luma in 16-bit fixed point. */
INLINE void luma(const ints *pixels, ints *out)
{
    ints red = *pixels & 255, green = *pixels >> 8 & 255, blue = *pixels >> 16 & 255;
    *out = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

static int64_t luma_sum(const uint8_t *pixels, int64_t n)
{
    int64_t total = 0;
    ints sum = {0};
    for (int64_t i = 0; i < n; i += LANES) {
        uint8_t tail[PIXEL_BYTES] = {0}; /* black adds nothing */
        const uint8_t *at = pixels + i * 3;
        ints v, grey;
        if (n - i < LANES) at = memcpy(tail, at, (size_t)(n - i) * 3);
        load_pixels(at, &v);
        luma(&v, &grey);
        sum +=
            grey; /* at most 255 for each of 2^23 / 16 vectors of the largest picture: no overflow */
    }
    for (int k = 0; k < LANES; k++) total += sum[k];
    return total;
}

INLINE void saturate_lanes(float factor, ints *pixels)
{
    ints grey, mixed = {0};
    luma(pixels, &grey);
    const floats from = __builtin_convertvector(grey, floats);
    for (int c = 0; c < 3; c++) {
        ints v = *pixels >> 8 * c & 255;
        blend_lanes(&from, factor, &v);
        clip(&v);
        mixed |= v << 8 * c;
    }
    *pixels = mixed;
}

static void saturate(uint8_t *pixels, int64_t n, float factor)
{
    for (int64_t i = 0; i < n; i += LANES) {
        uint8_t tail[PIXEL_BYTES] = {0}, *at = n - i < LANES ? tail : pixels + i * 3;
        ints v;
        if (at == tail) memcpy(tail, pixels + i * 3, (size_t)(n - i) * 3);
        load_pixels(at, &v);
        saturate_lanes(factor, &v);
        store_pixels(&v, at);
        if (at == tail) memcpy(pixels + i * 3, tail, (size_t)(n - i) * 3);
    }
}

static void mirror(uint8_t *row, int64_t n)
{
    for (uint8_t *left = row, *right = row + (n - 1) * 3; left < right; left += 3, right -= 3) {
        uint8_t kept[3] = {left[0], left[1], left[2]};
        for (int c = 0; c < 3; c++) left[c] = right[c];
        for (int c = 0; c < 3; c++) right[c] = kept[c];
    }
}

#define JOIN(a, b)  a##b
#define NAMED(name) JOIN(vlm_pixel_, name)
#define TEXT(name)  #name
#define QUOTE(name) TEXT(name)
extern const vlm_pixel_set NAMED(VLM_PIXEL_SET);
const vlm_pixel_set NAMED(VLM_PIXEL_SET) = {
    QUOTE(VLM_PIXEL_SET), across, down, blend, luma_sum, saturate, mirror,
};
