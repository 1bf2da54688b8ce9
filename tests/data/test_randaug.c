/* RandAugment: every operation against Pillow, how operations are drawn, and that a key decides all. */
#include "data_randaug.h"
#include "golden_file.h"

TEST(randaug_operations_equal_pillow_in_every_byte)
{
    golden_file file = golden_open(TEST_GOLDEN "/data_randaug.bin");
    vlm_workspace *workspace = NULL;
    CHECK_STATUS(vlm_workspace_create(&workspace, NULL), VLMOE_OK);
    int n = 0;
    for (; file.at < file.bytes; n++) {
        const int32_t op = golden_int(&file), turned = golden_int(&file);
        const int32_t width = golden_int(&file), height = golden_int(&file);
        const double magnitude = golden_double(&file);
        const size_t bytes = (size_t)(width * height * 3);
        uint8_t *got = (uint8_t *)golden_take(&file, bytes);
        const uint8_t *want = golden_take(&file, bytes);
        vlm_workspace_reset(workspace);
        CHECK_STATUS(vlm_randaug_one((vlm_randaug_op)op, magnitude, turned,
                                     &(vlm_image){width, height, got}, workspace, NULL),
                     VLMOE_OK);
        for (size_t i = 0; i < bytes; i++)
            if (got[i] != want[i])
                test_fail(__FILE__, __LINE__,
                          "operation %d at %g, turned %d, %d x %d: byte %zu is %d, Pillow %d", op,
                          magnitude, turned, width, height, i, got[i], want[i]);
    }
    CHECK_INT(n, 5 * 4 + 5 * 8);
    vlm_workspace_destroy(workspace);
    vlm_free(file.data);
}

enum { SIDE = 24, BYTES = SIDE * SIDE * 3 };

static void fill(uint8_t *pixels)
{
    vlm_rng rng = vlm_rng_at(1, VLM_STREAM_TEST, 0, 0, 0);
    for (int i = 0; i < BYTES; i++) pixels[i] = (uint8_t)(60 + vlm_rng_below(&rng, 100));
}

static void apply(int n, uint64_t key, uint8_t *pixels)
{
    const vlm_randaug params = {n, 7.0};
    vlm_workspace *workspace = NULL;
    vlm_rng rng = vlm_rng_at(2, VLM_STREAM_TEST, key, 0, 0);
    fill(pixels);
    CHECK_STATUS(vlm_workspace_create(&workspace, NULL), VLMOE_OK);
    CHECK_STATUS(
        vlm_randaug_apply(&params, &(vlm_image){SIDE, SIDE, pixels}, &rng, workspace, NULL),
        VLMOE_OK);
    vlm_workspace_destroy(workspace);
}

/* One operation changes a picture when it is done (1/2) and not the identity (9/10). */
TEST(randaug_draws_evenly_and_does_half)
{
    enum { N = 2000 };
    uint8_t plain[BYTES], got[BYTES], again[BYTES];
    int n_changed = 0;
    fill(plain);
    for (uint64_t i = 0; i < N; i++) {
        apply(1, i, got);
        n_changed += memcmp(plain, got, BYTES) != 0;
    }
    /* five standard deviations of a binomial with p = 0.45 */
    CHECK_CLOSE((double)n_changed / N, 0.45, 5 * 0.0111);
    apply(0, 3, got);
    CHECK(!memcmp(plain, got, BYTES));
    apply(12, 3, got);
    apply(12, 3, again);
    CHECK(!memcmp(got, again, BYTES));
    CHECK(memcmp(got, plain, BYTES) != 0);
}
