/* Sources of evaluation, samples by number, and what goes wrong: every error names its sample or
 * key. */
#include "source_fixture.h"

static vlmoe_status open_fails(vlm_source_mode mode, const char *const *more, const vlm_spm *spm,
                               vlmoe_error *error)
{
    vlmoe_config *config = make_config(more);
    vlm_source *source = NULL;
    *error = (vlmoe_error){0};
    vlmoe_status status = vlm_source_open(config, mode, spm, NULL, &source, error);
    CHECK(source == NULL);
    vlmoe_config_destroy(config);
    return status;
}

/* ---- Evaluation ---- */

TEST(source_evaluation_sees_every_sample_once_in_order)
{
    vlm_source *source = open_source(VLM_SOURCE_EVAL, KEYS("data.workers=2"));
    for (int pass = 0; pass < 2; pass++) {
        int64_t n_images = 0, n_pairs = 0, n_texts = 0, n_groups = 0;
        for (const vlm_group *group; (group = next(source)) != NULL; n_groups++) {
            for (int64_t i = 0; i < group->n_images; i++) {
                CHECK_INT(group->sample[i], n_images);
                check_picture(group, i, n_images++);
            }
            const int64_t *samples = group->sample + group->n_images;
            for (int64_t i = 0; i < group->n_pairs + group->n_texts; i++) {
                CHECK_INT(samples[i], i < group->n_pairs ? n_pairs++ : n_texts++);
                CHECK(check_text(group, i, samples[i]) > 0);
                if (i < group->n_pairs) check_picture(group, group->n_images + i, samples[i] + 100);
            }
        }
        CHECK(n_images == N_IMAGES && n_pairs == N_PAIRS && n_texts == N_TEXTS);
        CHECK_INT(n_groups, 3); /* 11 / 4, 9 / 3 and 13 / 5, rounded up */
        CHECK(next(source) == NULL);
        CHECK_STATUS(vlm_source_seek(source, 0, NULL), VLMOE_OK);
    }
    vlm_source_close(source);
}

TEST(source_evaluation_streams_end_each_for_itself_at_val_samples)
{
    vlm_source *source =
        open_source(VLM_SOURCE_EVAL, KEYS("data.val_samples=10", "data.images_per_group=2",
                                          "data.texts_per_group=8"));
    static const int64_t want[5][3] = {{2, 3, 8}, {2, 3, 2}, {2, 3, 0}, {2, 0, 0}, {2, 0, 0}};
    for (int g = 0; g < 5; g++) {
        const vlm_group *group = next(source);
        CHECK(group->n_images == want[g][0] && group->n_pairs == want[g][1] &&
              group->n_texts == want[g][2]);
    }
    CHECK(next(source) == NULL);
    CHECK_INT(vlm_source_samples(source, TEXTS), N_TEXTS);
    vlm_source_close(source);
}

TEST(source_evaluation_hides_the_same_whatever_the_groups)
{
    uint8_t patches[N_PAIRS][PATCHES];
    int32_t first_target[N_PAIRS][64];
    vlm_source *small = open_source(VLM_SOURCE_EVAL, NULL);
    int64_t n = 0;
    for (const vlm_group *group; (group = next(small)) != NULL;)
        for (int64_t i = 0; i < group->n_pairs; i++, n++) {
            memcpy(patches[n], group->patch_mask + (group->n_images + i) * PATCHES, PATCHES);
            memcpy(first_target[n], group->token_target + group->text_offset[i],
                   (size_t)(words(group, i) + 2) * 4);
        }
    vlm_source_close(small);
    vlm_source *large = open_source(VLM_SOURCE_EVAL, KEYS("data.pairs_per_group=9", "run.groups=1",
                                                          "objective.image_weight=0"));
    const vlm_group *group = next(large);
    CHECK(n == N_PAIRS && group->n_pairs == N_PAIRS && group->n_images == 0);
    for (int64_t i = 0; i < N_PAIRS; i++) {
        CHECK(memcmp(patches[i], group->patch_mask + i * PATCHES, PATCHES) == 0);
        CHECK(memcmp(first_target[i], group->token_target + group->text_offset[i],
                     (size_t)(words(group, i) + 2) * 4) == 0);
    }
    vlm_source_close(large);
}

TEST(source_samples_by_number_are_plain_and_whole)
{
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, NULL);
    uint8_t pixels[PIXELS];
    vlm_sample_view view;
    for (int64_t i = 0; i < N_PAIRS; i++) {
        CHECK_STATUS(vlm_source_sample(source, PAIRS, i, pixels, &view, NULL), VLMOE_OK);
        for (int64_t k = 0; k < PIXELS; k += 3) CHECK_INT(pixels[k], 100 + i);
        CHECK(view.text_bytes == strlen(text_of(i)) &&
              memcmp(view.text, text_of(i), view.text_bytes) == 0);
        CHECK(view.json == NULL && view.key[0] == 's' && atoi(view.key + 1) == i);
    }
    CHECK_STATUS(vlm_source_sample(source, IMAGES, 8, pixels, &view, NULL), VLMOE_OK);
    CHECK(view.text == NULL && pixels[0] == 8);
    CHECK_STATUS(vlm_source_sample(source, TEXTS, 12, NULL, &view, NULL), VLMOE_OK);
    CHECK(memcmp(view.text, text_of(12), view.text_bytes) == 0);
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_source_sample(source, PAIRS, N_PAIRS, pixels, &view, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "data.pairs: no sample 9, there are 9");
    CHECK_STATUS(vlm_source_sample(source, 3, 0, pixels, &view, NULL), VLMOE_E_ARG);
    vlm_source_close(source);
}

TEST(picture_load_equals_the_sample_and_names_a_bad_file)
{
    vlmoe_config *config = make_config(NULL);
    vlm_bytes file = picture_of(104);
    uint8_t loaded[PIXELS], pixels[PIXELS];
    vlm_sample_view view;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_file_replace(folder("one.ppm"), file.data, file.bytes, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_picture_load(config, folder("one.ppm"), loaded, NULL), VLMOE_OK);
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, NULL);
    CHECK_STATUS(vlm_source_sample(source, PAIRS, 4, pixels, &view, NULL), VLMOE_OK);
    CHECK(memcmp(loaded, pixels, PIXELS) == 0);
    vlm_source_close(source);
    CHECK_STATUS(vlm_file_replace(folder("one.ppm"), file.data, 100, NULL), VLMOE_OK);
    CHECK_STATUS(vlm_picture_load(config, folder("one.ppm"), loaded, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "one.ppm");
    vlmoe_config_destroy(config);
}

/* ---- Errors ---- */

/* A source of pairs alone, the last of whose 6 samples is bad: the error says what, and comes where
 * the sample is. */
static void check_bad_sample(const char *name, const vlm_sample *bad, const char *says)
{
    char key[600];
    write_set(name, PAIRS, 0, 5, bad);
    snprintf(key, sizeof key, "data.pairs=[\"%s\"]", folder(name));
    vlm_source *source = open_source(
        VLM_SOURCE_TRAIN, KEYS("data.images=[]", "data.texts=[]", "data.pairs_per_group=1",
                               "data.workers=3", "data.overlong=error", key));
    for (int pass = 0; pass < 2; pass++) {
        int n = 0;
        const vlm_group *group = NULL;
        vlmoe_error error = {0};
        while (vlm_source_next(source, &group, &error) == VLMOE_OK && n < 7) {
            CHECK(group->sample[0] != 5);
            n++;
        }
        CHECK(n <= 5);
        CHECK_INT(error.status, VLMOE_E_FORMAT);
        CHECK_HAS(error.text, "data.pairs: ");
        CHECK_HAS(error.text, name);
        CHECK_HAS(error.text, "00001.tar, sample bad at byte ");
        CHECK_HAS(error.text, says);
        error = (vlmoe_error){0};
        CHECK_STATUS(vlm_source_next(source, &group, &error), VLMOE_E_FORMAT);
        CHECK_STATUS(vlm_source_seek(source, 0, NULL), VLMOE_OK);
    }
    vlm_source_close(source);
}

#define BYTES(text) ((vlm_bytes){(const unsigned char *)(text), sizeof(text) - 1})

TEST(source_errors_name_the_bad_sample)
{
    prepare();
    vlm_sample bad = {.key = "bad", .n_texts = 1, .texts = {BYTES("a dog")}};
    check_bad_sample("no-picture", &bad, "no picture");
    bad.image = picture_of(9);
    bad.image.bytes -= 50;
    check_bad_sample("half-a-picture", &bad, "");
    bad.image.bytes += 50;
    bad.texts[0] = BYTES(" \n ");
    check_bad_sample("empty-text", &bad, "the text is empty");
    bad.texts[0] = BYTES("dog \xff");
    check_bad_sample("not-utf8", &bad, "not UTF-8");
    bad.texts[0] = BYTES("red dog small house runs old river near tree cat red dog small house "
                         "runs old river near tree cat "
                         "red dog small house runs old");
    check_bad_sample("too-long", &bad, "model.text_len is 40");
    bad.n_texts = 0;
    check_bad_sample("no-text", &bad, "no text");
}

TEST(source_cuts_long_texts_and_counts_them)
{
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, KEYS("model.text_len=5"));
    for (int g = 0; g < 6; g++) {
        const vlm_group *group = next(source);
        int64_t n_cut = 0;
        for (int64_t t = 0; t < 8; t++) {
            int32_t ids[64];
            int64_t n, n_all;
            const char *text = text_of(group->sample[4 + t]);
            CHECK_STATUS(vlm_spm_encode(prepare(), text, strlen(text), 64, ids, &n, &n_all, NULL),
                         VLMOE_OK);
            n_cut += n_all > 5;
            CHECK_INT(words(group, t), VLM_MIN(n_all, 5) - 2);
        }
        CHECK_INT(group->n_cut, n_cut);
    }
    vlm_source_close(source);
}

TEST(source_of_several_texts_a_picture_draws_among_them)
{
    prepare();
    vlm_sample sample = {.key = "many",
                         .n_texts = 3,
                         .texts = {BYTES("red"), BYTES("red dog"), BYTES("red dog small house")}};
    sample.image = picture_of(9);
    write_set("many", PAIRS, 0, 0, &sample);
    char key[600], val[600];
    snprintf(key, sizeof key, "data.pairs=[\"%s\"]", folder("many"));
    snprintf(val, sizeof val, "data.val_pairs=[\"%s\"]", folder("many"));
    bool seen[64] = {false};
    vlm_source *source = open_source(VLM_SOURCE_TRAIN, KEYS(key));
    for (int g = 0; g < 20; g++) {
        const vlm_group *group = next(source);
        for (int64_t t = 0; t < 3; t++) seen[words(group, t)] = true;
    }
    vlm_source_close(source);
    int n_lengths = 0, shortest = 0;
    for (int i = 63; i >= 0; i--) {
        n_lengths += seen[i];
        if (seen[i]) shortest = i;
    }
    CHECK_INT(n_lengths, 3);
    source = open_source(VLM_SOURCE_EVAL, KEYS(val));
    CHECK_INT(words(next(source), 0), shortest); /* evaluation takes the first */
    vlm_source_close(source);
}

static void keep_log(void *user, int level, const char *area, const char *text)
{
    char *all = user;
    (void)level;
    CHECK_TEXT(area, "data");
    strncat(all, text, 4095 - strlen(all));
}

TEST(source_says_what_it_opened)
{
    char said[4096] = "";
    const vlm_spm *spm = prepare();
    vlm_log log = {keep_log, said};
    vlm_source *source = NULL;
    vlmoe_config *config = make_config(KEYS("data.texts=[]", "data.images_per_group=6"));
    CHECK_STATUS(vlm_source_open(config, VLM_SOURCE_TRAIN, spm, &log, &source, NULL), VLMOE_OK);
    CHECK_HAS(said, "data.images: 11 samples in 2 sets, 6 a group");
    CHECK_HAS(said, "data.images: a step takes 12 samples but there are 11");
    CHECK_HAS(said, "data.texts names no folder: this stream is off");
    CHECK_INT(vlm_source_samples(source, TEXTS), 0);
    vlm_source_close(source);
    vlmoe_config_destroy(config);
}

TEST(source_open_errors_name_keys)
{
    const vlm_spm *spm = prepare();
    vlmoe_error error;
    CHECK_STATUS(open_fails(VLM_SOURCE_TRAIN, NULL, NULL, &error), VLMOE_E_ARG);
    CHECK_HAS(error.text, "data.text_model");
    CHECK_STATUS(open_fails(VLM_SOURCE_TRAIN,
                            KEYS("data.images=[]", "data.texts=[]", "data.pairs=[]"), spm, &error),
                 VLMOE_E_ARG);
    CHECK_HAS(error.text, "data.pairs");
    CHECK_STATUS(
        open_fails(VLM_SOURCE_EVAL, KEYS("data.val_images=[\"/no/such/folder\"]"), spm, &error),
        VLMOE_E_IO);
    CHECK_HAS(error.text, "data.val_images: ");
    CHECK_HAS(error.text, "/no/such/folder");
    CHECK_STATUS(open_fails(VLM_SOURCE_TRAIN,
                            KEYS("data.texts_per_group=1000000", "model.text_len=65536"), spm,
                            &error),
                 VLMOE_E_ARG);
    CHECK_HAS(error.text, "data.texts_per_group");
}

TEST(source_closes_at_any_moment)
{
    for (int moment = 0; moment < 30; moment++) {
        vlm_source *source = open_source(moment % 3 ? VLM_SOURCE_TRAIN : VLM_SOURCE_EVAL,
                                         moment % 2 ? KEYS("data.workers=3") : NULL);
        for (int g = 0; g < moment % 6; g++) next(source);
        vlm_source_close(source);
    }
    vlm_source_close(NULL);
}
