/* Mixup and cutmix: the distribution of shares, pixels and labels by hand, and both in a source. */
#include <math.h>
#include "data_mixup.h"
#include "source_fixture.h"

/* Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)), fourth central moment 3 / (16 (2a + 1) (2a + 3)). */
TEST(beta_has_the_moments_of_beta)
{
    enum { N = 40000 };
    static const double shapes[] = {0.1, 0.4, 0.8, 1.0, 3.0, 50.0};
    for (int s = 0; s < VLM_COUNT(shapes); s++) {
        const double a = shapes[s], variance = 1.0 / (4.0 * (2.0 * a + 1.0));
        const double fourth = 3.0 / (16.0 * (2.0 * a + 1.0) * (2.0 * a + 3.0));
        vlm_rng rng = vlm_rng_at(4, VLM_STREAM_TEST, (uint64_t)s, 0, 0);
        double sum = 0.0, square = 0.0;
        for (int i = 0; i < N; i++) {
            const double x = vlm_beta(a, &rng);
            CHECK(x >= 0.0 && x <= 1.0);
            sum += x;
            square += (x - 0.5) * (x - 0.5);
        }
        /* five standard errors each */
        CHECK_CLOSE(sum / N, 0.5, 5.0 * sqrt(variance / N));
        CHECK_CLOSE(square / N, variance, 5.0 * sqrt((fourth - variance * variance) / N));
    }
    vlm_rng rng = vlm_rng_at(4, VLM_STREAM_TEST, 99, 0, 0);
    for (int i = 0; i < 1000; i++) { /* both gammas far below what a double holds */
        const double x = vlm_beta(1e-4, &rng);
        CHECK(x >= 0.0 && x <= 1.0);
    }
}

TEST(mixtures_keep_what_their_pixels_keep)
{
    enum { N = 4000, SIZE = 32 };
    const vlm_mixup both = {0.8, 1.0}, mixup = {0.8, 0.0}, cutmix = {0.0, 1.0};
    int n_cut = 0;
    double sum = 0.0;
    for (uint64_t i = 0; i < N; i++) {
        vlm_rng rng = vlm_rng_at(5, VLM_STREAM_TEST, i, 0, 0);
        vlm_mixture m = vlm_mixture_draw(&both, SIZE, &rng);
        n_cut += m.is_cut;
        m = vlm_mixture_draw(&mixup, SIZE, &rng);
        CHECK(!m.is_cut && m.blend >= 0 && m.blend <= 65536 && m.keep == m.blend / 65536.0);
        m = vlm_mixture_draw(&cutmix, SIZE, &rng);
        const vlm_box b = m.box;
        CHECK(m.is_cut && b.x >= 0 && b.y >= 0 && b.width >= 0 && b.height >= 0);
        CHECK(b.x + b.width <= SIZE && b.y + b.height <= SIZE);
        CHECK(m.keep == 1.0 - (double)(b.width * b.height) / (SIZE * SIZE));
        sum += 1.0 - m.keep;
    }
    CHECK_CLOSE((double)n_cut / N, 0.5, 5 * 0.5 / sqrt(N));
    /* Mean area of a box of side s = sqrt(u) whose centre lies evenly in the unit square: its part of an
     * axis that is inside has mean s - s^2 / 4, so E[(s - s^2 / 4)^2] with density 2 s: 1/2 - 2 (1/5)
     * (1/2) + (1/16)(1/3) = 77/240, less what halves rounded down cost: under one pixel of 32 a side. */
    CHECK(sum / N < 77.0 / 240.0 + 5 * 0.3 / sqrt(N));
    CHECK(sum / N > 77.0 / 240.0 - 5 * 0.3 / sqrt(N) - 2.0 / SIZE);
}

enum { N_MIX = 3, MIX_SIDE = 2, MIX_BYTES = MIX_SIDE * MIX_SIDE * 3 };

typedef struct small_group {
    vlm_group group;
    uint8_t pixels[N_MIX * MIX_BYTES];
    int32_t offset[N_MIX + 1], label[2 * N_MIX * 2];
    float score[2 * N_MIX * 2];
} small_group;

/* Pictures of 10, 20, 30; labels {4}, {5: 0.25, 6: 0.75}, {4: 0.5, 7: 0.5}. */
static void mix(const vlm_mixture *m, small_group *s)
{
    static const int32_t offset[] = {0, 1, 3, 5}, label[] = {4, 5, 6, 4, 7};
    static const float score[] = {1, 0.25f, 0.75f, 0.5f, 0.5f};
    vlm_workspace *workspace = NULL;
    for (int i = 0; i < N_MIX * MIX_BYTES; i++) s->pixels[i] = (uint8_t)(10 * (1 + i / MIX_BYTES));
    memcpy(s->offset, offset, sizeof offset);
    memcpy(s->label, label, sizeof label);
    memcpy(s->score, score, sizeof score);
    s->group = (vlm_group){.n_images = N_MIX,
                           .n_examples = N_MIX,
                           .image_size = MIX_SIDE,
                           .pixels = s->pixels,
                           .label_offset = s->offset,
                           .label = s->label,
                           .label_score = s->score};
    CHECK_STATUS(vlm_workspace_create(&workspace, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_mixture_apply(m, &s->group, workspace, NULL), VLMOE_OK);
    vlm_workspace_destroy(workspace);
}

static void check_labels(const small_group *s, int i, int n, const int32_t *label,
                         const float *score)
{
    CHECK_INT(s->offset[i + 1] - s->offset[i], n);
    for (int k = 0; k < n; k++) {
        CHECK_INT(s->label[s->offset[i] + k], label[k]);
        CHECK(s->score[s->offset[i] + k] == score[k]);
    }
}

TEST(mixup_blends_pixels_and_labels_in_the_same_shares)
{
    small_group s;
    mix(&(vlm_mixture){.blend = 49152, .keep = 0.75}, &s);
    for (int i = 0; i < MIX_BYTES; i++) {
        CHECK_INT(s.pixels[i], 15);
        CHECK_INT(s.pixels[MIX_BYTES + i], 20);
        CHECK_INT(s.pixels[2 * MIX_BYTES + i], 25);
    }
    check_labels(&s, 0, 2, (const int32_t[]){4, 7}, (const float[]){0.875f, 0.125f});
    check_labels(&s, 1, 2, (const int32_t[]){5, 6}, (const float[]){0.25f, 0.75f});
    check_labels(&s, 2, 2, (const int32_t[]){4, 7}, (const float[]){0.625f, 0.375f});
    mix(&(vlm_mixture){.blend = 65536, .keep = 1.0}, &s);
    CHECK(s.pixels[0] == 10 && s.pixels[2 * MIX_BYTES] == 30);
    check_labels(&s, 0, 1, (const int32_t[]){4}, (const float[]){1});
    mix(&(vlm_mixture){.blend = 0, .keep = 0.0}, &s);
    CHECK(s.pixels[0] == 30 && s.pixels[2 * MIX_BYTES] == 10);
    check_labels(&s, 0, 2, (const int32_t[]){4, 7}, (const float[]){0.5f, 0.5f});
    check_labels(&s, 2, 1, (const int32_t[]){4}, (const float[]){1});
}

TEST(cutmix_swaps_a_box_and_shares_labels_by_its_area)
{
    small_group s;
    mix(&(vlm_mixture){.is_cut = true, .box = {1, 0, 1, 2}, .keep = 0.5}, &s);
    for (int i = 0; i < MIX_BYTES; i++) {
        const bool is_right = i / 3 % 2 == 1;
        CHECK_INT(s.pixels[i], is_right ? 30 : 10);
        CHECK_INT(s.pixels[MIX_BYTES + i], 20);
        CHECK_INT(s.pixels[2 * MIX_BYTES + i], is_right ? 10 : 30);
    }
    check_labels(&s, 0, 2, (const int32_t[]){4, 7}, (const float[]){0.75f, 0.25f});
    check_labels(&s, 2, 2, (const int32_t[]){4, 7}, (const float[]){0.75f, 0.25f});
}

/* A set of five pictures whose label is their number, through a source. */
TEST(source_mixes_training_and_not_evaluation)
{
    enum { N = 5 };
    vlm_shard_writer *writer = NULL;
    char key[600], val[600], names[] = "a\nb\nc\nd\ne\n", path[600];
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_shard_writer_open(folder("five"), NULL, &writer, NULL), VLMOE_OK);
    for (int i = 0; i < N; i++) {
        char json[64];
        vlm_sample sample = {.image = picture_of((uint8_t)(50 * i))};
        const int bytes = snprintf(json, sizeof json, "{\"labels\": [%d]}", i);
        sample.json = (vlm_bytes){(unsigned char *)json, (size_t)bytes};
        CHECK_STATUS_E(vlm_shard_writer_put(writer, &sample, &error), VLMOE_OK, &error);
    }
    CHECK_STATUS(vlm_shard_writer_close(writer, NULL), VLMOE_OK);
    snprintf(path, sizeof path, "%s/labels.txt", folder("five"));
    CHECK_STATUS(vlm_file_replace(path, names, strlen(names), NULL), VLMOE_OK);
    snprintf(key, sizeof key, "data.images=[\"%s\"]", folder("five"));
    snprintf(val, sizeof val, "data.val_images=[\"%s\"]", folder("five"));
    vlm_source *source = open_source(
        VLM_SOURCE_TRAIN, KEYS("run.task=classify", "task.mixup=1", "data.images_per_group=5",
                               "data.jitter=0", "data.crop_min=1", "data.flip=0", key));
    for (int g = 0; g < 4; g++) {
        const vlm_group *group = next(source);
        for (int64_t i = 0; i < N; i++) {
            double red = 0.0, sum = 0.0;
            const int32_t end = group->label_offset[i + 1];
            for (int32_t k = group->label_offset[i]; k < end; k++) {
                red += 50.0 * group->label[k] * (double)group->label_score[k];
                sum += (double)group->label_score[k];
            }
            CHECK_CLOSE(sum, 1.0, 1e-6);
            CHECK_CLOSE(group->pixels[i * PIXELS], red, 0.5 + 1e-3); /* rounded */
        }
    }
    vlm_source_close(source);
    source = open_source(VLM_SOURCE_EVAL, KEYS("run.task=classify", "task.mixup=1", key, val));
    CHECK_INT(next(source)->label_offset[4], 4);
    vlm_source_close(source);
}
