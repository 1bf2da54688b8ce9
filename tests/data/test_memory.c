/* The way of a picture allocates nothing once it has seen pictures of the size: every allocation of
 * the process, those of libjpeg and of the prefetch threads too, is counted here. */
#include "data_image.h"
#include "golden_file.h"
#include "source_fixture.h"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
#include <errno.h>
#include <stdatomic.h>

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *block, size_t bytes);
extern void *__libc_memalign(size_t align, size_t bytes);

/* Of the whole process: other libraries find these before the C library's. */
#define OF_ALL __attribute__((visibility("default")))

static atomic_int n_allocations;

OF_ALL void *malloc(size_t bytes)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_malloc(bytes);
}

OF_ALL void *calloc(size_t n, size_t bytes)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_calloc(n, bytes);
}

OF_ALL void *realloc(void *block, size_t bytes)
{
    atomic_fetch_add(&n_allocations, 1);
    return __libc_realloc(block, bytes);
}

OF_ALL int posix_memalign(void **out, size_t align, size_t bytes)
{
    atomic_fetch_add(&n_allocations, 1);
    *out = __libc_memalign(align, bytes);
    return *out ? 0 : ENOMEM;
}

static void check_counts(void)
{
    const int before = atomic_load(&n_allocations);
    void *block = NULL;
    CHECK(posix_memalign(&block, 64, 100) == 0);
    free(block);
    vlm_free(vlm_alloc(10));
    CHECK_INT(atomic_load(&n_allocations) - before, 2);
}

/* One stored picture to 8 x 8 pixels with new colours. */
static void take_picture(golden_file *file, vlm_workspace *workspace)
{
    golden_take(file, 16 + 4); /* name, exact */
    const size_t bytes = (size_t)golden_int(file);
    const int32_t width = golden_int(file), height = golden_int(file);
    const void *data = golden_take(file, bytes);
    uint8_t out[8 * 8 * 3];
    vlm_image_file opened;
    vlm_augment augment = VLM_AUGMENT_INIT;
    vlm_rng rng = vlm_rng_at(1, VLM_STREAM_TEST, 0, 0, 0);
    augment.brightness = augment.contrast = augment.saturation = augment.hue = 0.3;
    golden_take(file, (size_t)width * (size_t)height * 3);
    vlm_workspace_reset(workspace);
    CHECK_STATUS(vlm_image_open(workspace, data, bytes, NULL, &opened, NULL), VLMOE_OK);
    uint8_t *pixels = vlm_workspace_take(workspace, (size_t)width * (size_t)height, 3);
    CHECK_STATUS(vlm_image_read(&opened, NULL, pixels, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_image_augment(&(vlm_image){width, height, pixels}, &augment, &rng,
                                   &(vlm_image){8, 8, out}, workspace, NULL),
                 VLMOE_OK);
}

TEST(memory_of_a_workspace_serves_every_kind_of_picture)
{
    enum {
        ROUNDS = 6,
        WARM = 3
    }; /* it may grow once for the pictures and once for their maximum */
    golden_file file = golden_open(TEST_GOLDEN "/data_image.bin");
    vlm_workspace *workspace = NULL;
    CHECK_STATUS(vlm_workspace_create(&workspace, NULL), VLMOE_OK);
    check_counts();
    for (int round = 0; round < ROUNDS; round++) {
        const int before = atomic_load(&n_allocations);
        for (file.at = 0; file.at < file.bytes;) take_picture(&file, workspace);
        if (round < WARM) CHECK(round > 0 || atomic_load(&n_allocations) > before);
        else CHECK_INT(atomic_load(&n_allocations) - before, 0);
    }
    vlm_workspace_destroy(workspace);
    vlm_free(file.data);
}

TEST(memory_of_groups_of_pictures_is_taken_once)
{
    enum { WARM = 12, N = 30 };
    vlm_source *source = open_source(
        VLM_SOURCE_TRAIN, KEYS("run.task=image_tokeniser", "data.cache=false", "data.workers=1"));
    for (int i = 0; i < WARM; i++) next(source);
    const int before = atomic_load(&n_allocations);
    for (int i = 0; i < N; i++) CHECK(next(source) != NULL);
    CHECK_INT(atomic_load(&n_allocations) - before, 0);
    vlm_source_close(source);
}
#else
TEST(memory_is_counted_without_sanitizers_only)
{
    CHECK(true);
}
#endif
