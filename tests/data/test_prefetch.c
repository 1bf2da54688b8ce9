/* Prefetch threads: order, errors in order, seeking and closing at any moment; and the cache of
 * pictures. */
#include <string.h>
#include "data_cache.h"
#include "data_prefetch.h"
#include "harness.h"

enum { SLOTS = 4, WORKERS_MAX = 5 };
typedef struct desk {
    int64_t made[SLOTS];
    int64_t fails_at; /* -1 = never */
    atomic_int running;
    atomic_bool is_working[WORKERS_MAX];
} desk;

/* A piece takes longer the smaller its number within a run of five, so that threads finish out of
 * order. */
static vlmoe_status make_piece(void *arg, int64_t number, int slot, int worker,
                               const atomic_bool *cancel, vlmoe_error *error)
{
    desk *at = arg;
    /* A worker's number is its own: nobody else is at work under it. */
    CHECK(worker >= 0 && worker < WORKERS_MAX && !atomic_exchange(&at->is_working[worker], true));
    atomic_fetch_add(&at->running, 1);
    for (volatile int64_t i = 0; i < (5 - number % 5) * 4000 && !atomic_load(cancel);) i++;
    at->made[slot] = number;
    atomic_fetch_sub(&at->running, 1);
    atomic_store(&at->is_working[worker], false);
    if (number == at->fails_at)
        return vlm_fail(error, VLMOE_E_FORMAT, "piece %lld is bad", (long long)number);
    return VLMOE_OK;
}

static vlm_prefetch *open_desk(desk *at, int n_workers, int64_t limit)
{
    const vlm_prefetch_params params = {make_piece, at, n_workers, SLOTS, limit};
    vlm_prefetch *prefetch = NULL;
    CHECK_STATUS(vlm_prefetch_open(&params, &prefetch, NULL), VLMOE_OK);
    return prefetch;
}

static void expect_piece(vlm_prefetch *prefetch, const desk *at, int64_t number)
{
    int slot = -2;
    CHECK_STATUS(vlm_prefetch_next(prefetch, &slot, NULL), VLMOE_OK);
    CHECK(slot >= 0 && slot < SLOTS);
    CHECK_INT(at->made[slot], number);
}

TEST(prefetch_gives_pieces_in_order_up_to_the_limit)
{
    for (int n_workers = 1; n_workers <= 5; n_workers += 2) {
        desk at = {.fails_at = -1};
        vlm_prefetch *prefetch = open_desk(&at, n_workers, 60);
        for (int64_t n = 0; n < 60; n++) expect_piece(prefetch, &at, n);
        for (int again = 0; again < 2; again++) {
            int slot = 0;
            CHECK_STATUS(vlm_prefetch_next(prefetch, &slot, NULL), VLMOE_OK);
            CHECK_INT(slot, -1);
        }
        vlm_prefetch_seek(prefetch, 57);
        for (int64_t n = 57; n < 60; n++) expect_piece(prefetch, &at, n);
        vlm_prefetch_close(prefetch);
    }
}

TEST(prefetch_error_comes_after_the_pieces_before_it_and_stays)
{
    desk at = {.fails_at = 7};
    vlm_prefetch *prefetch = open_desk(&at, 3, -1);
    for (int64_t n = 0; n < 7; n++) expect_piece(prefetch, &at, n);
    for (int again = 0; again < 3; again++) {
        int slot = -2;
        vlmoe_error error = {0};
        CHECK_STATUS(vlm_prefetch_next(prefetch, &slot, &error), VLMOE_E_FORMAT);
        CHECK_TEXT(error.text, "piece 7 is bad");
        CHECK_INT(slot, -2);
    }
    vlm_prefetch_seek(prefetch, 8);
    for (int64_t n = 8; n < 12; n++) expect_piece(prefetch, &at, n);
    vlm_prefetch_close(prefetch);
}

TEST(prefetch_seeks_and_closes_at_any_moment)
{
    for (int64_t moment = 0; moment < 40; moment++) {
        desk at = {.fails_at = moment % 3 ? -1 : 2};
        vlm_prefetch *prefetch = open_desk(&at, 1 + (int)(moment % 4), moment % 2 ? -1 : 3);
        int slot = 0;
        for (int64_t n = 0; n < moment % 5; n++) vlm_prefetch_next(prefetch, &slot, NULL);
        if (moment % 7 == 0) vlm_prefetch_seek(prefetch, moment);
        vlm_prefetch_close(prefetch);
        CHECK_INT(at.running, 0);
    }
    vlm_prefetch_close(NULL);
}

static vlm_image picture(int64_t side, uint8_t value)
{
    vlm_image image = {0};
    CHECK_STATUS(vlm_image_create(side, side, &image, NULL), VLMOE_OK);
    memset(image.pixels, value, (size_t)(side * side * 3));
    return image;
}

TEST(cache_keeps_what_fits_and_leaves_the_rest_to_the_caller)
{
    vlm_cache *cache = NULL;
    const size_t limit = 40000;
    CHECK_STATUS(vlm_cache_create(limit, &cache, NULL), VLMOE_OK);
    int64_t kept = 0;
    for (uint64_t key = 0; key < 40; key++) {
        vlm_image image = picture(32, (uint8_t)key), twin = picture(32, (uint8_t)key);
        const vlm_image *at = vlm_cache_keep(cache, key, &image);
        CHECK((at == NULL) == (image.pixels != NULL));
        CHECK(vlm_cache_keep(cache, key, &twin) == NULL); /* there already, or no room */
        kept += at != NULL;
        vlm_image_free(&image);
        vlm_image_free(&twin);
        CHECK(vlm_cache_bytes(cache) <= limit);
    }
    CHECK_INT(kept, 12); /* 3,072 bytes of pixels and less than 200 of its own each */
    for (uint64_t key = 0; key < 40; key++) {
        const vlm_image *at = vlm_cache_get(cache, key);
        CHECK_INT(at != NULL, key < 12);
        if (at) CHECK(at->pixels[0] == key && at->pixels[3071] == key && at->width == 32);
    }
    vlm_cache_destroy(cache);
    CHECK(vlm_cache_get(NULL, 3) == NULL);
    vlm_cache_destroy(NULL);
}

TEST(cache_finds_everything_after_it_has_grown)
{
    enum { N = 5000 };
    vlm_cache *cache = NULL;
    CHECK_STATUS(vlm_cache_create((size_t)1 << 24, &cache, NULL), VLMOE_OK);
    for (uint64_t key = 0; key < N; key++) {
        vlm_image image = picture(1, (uint8_t)(key % 251));
        CHECK(vlm_cache_keep(cache, key * 3 + 2, &image) != NULL);
    }
    for (uint64_t key = 0; key < 3 * N; key++) {
        const vlm_image *at = vlm_cache_get(cache, key);
        CHECK_INT(at != NULL, key % 3 == 2);
        if (at) CHECK_INT(at->pixels[0], key / 3 % 251);
    }
    vlm_cache_destroy(cache);
}
