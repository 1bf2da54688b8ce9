/* Groups of tasks: which rows an example has, its labels, its pictures by number, what is left out. */
#include "base_hash.h"
#include "data_source.h"
#include "source_fixture.h"

enum { N = 10, N_SHARED = 4, CLASSES = 4 };

static void put_text(vlm_sample *sample, const char *text)
{
    sample->texts[sample->n_texts++] = (vlm_bytes){(const unsigned char *)text, strlen(text)};
}

static void write_labels(const char *set)
{
    char path[600];
    static const char labels[] = "zero\none\ntwo\nthree\n";
    snprintf(path, sizeof path, "%s/labels.txt", folder(set));
    CHECK_STATUS(vlm_file_replace(path, labels, strlen(labels), NULL), VLMOE_OK);
}

static vlm_shard_writer *open_writer(const char *set)
{
    vlm_shard_writer *writer = NULL;
    vlm_shard_options options = VLM_SHARD_OPTIONS_INIT;
    vlmoe_error error = {0};
    options.shard_samples = 3;
    CHECK_STATUS_E(vlm_shard_writer_open(folder(set), &options, &writer, &error), VLMOE_OK, &error);
    return writer;
}

static void put_sample(vlm_shard_writer *writer, const vlm_sample *sample)
{
    vlmoe_error error = {0};
    CHECK_STATUS_E(vlm_shard_writer_put(writer, sample, &error), VLMOE_OK, &error);
}

/* A set of N samples with four shared pictures of red 40, 41, 42, 43; json is a format of up to
 * three numbers: i % CLASSES, i % N_SHARED, (i + 1) % N_SHARED; NULL = no json. */
static void write_task(const char *set, bool has_text, const char *second_text, const char *json)
{
    vlm_shard_writer *writer = open_writer(set);
    for (int64_t i = 0; i < N; i++) {
        vlm_sample sample = {0};
        char text[200];
        int bytes = 0;
        snprintf(sample.key, sizeof sample.key, "s%03d", (int)i);
        if (has_text) put_text(&sample, text_of(i));
        if (second_text) put_text(&sample, second_text);
        if (json)
            bytes = snprintf(text, sizeof text, json, (int)(i % CLASSES), (int)(i % N_SHARED),
                             (int)((i + 1) % N_SHARED));
        if (json) sample.json = (vlm_bytes){(unsigned char *)text, (size_t)bytes};
        if (!json || !strstr(json, "pictures")) sample.image = picture_of((uint8_t)i);
        put_sample(writer, &sample);
    }
    CHECK_STATUS(vlm_shard_writer_close(writer, NULL), VLMOE_OK);
    write_labels(set);
    char name[200];
    snprintf(name, sizeof name, "%s/pictures", set);
    writer = open_writer(name);
    for (int i = 0; i < N_SHARED; i++) {
        vlm_sample sample = {.image = picture_of((uint8_t)(40 + i))};
        put_sample(writer, &sample);
    }
    CHECK_STATUS(vlm_shard_writer_close(writer, NULL), VLMOE_OK);
}

static vlm_source *open_task(const char *task, const char *stream, const char *set,
                             vlm_source_mode mode, const char *more)
{
    char run[100], train[600], held_out[600], size[100];
    snprintf(run, sizeof run, "run.task=%s", task);
    snprintf(train, sizeof train, "data.%s=[\"%s\"]", stream, folder(set));
    snprintf(held_out, sizeof held_out, "data.val_%s=[\"%s\"]", stream, folder(set));
    snprintf(size, sizeof size, "data.%s_per_group=3", stream);
    return open_source(mode, KEYS(run, train, held_out, size, "data.jitter=0", more));
}

static void check_one_label(const vlm_group *group, int64_t example, int64_t sample)
{
    const int32_t at = group->label_offset[example];
    CHECK_INT(group->label_offset[example + 1], at + 1);
    CHECK_INT(group->label[at], sample % CLASSES);
    CHECK(group->label_score[at] == 1.0f);
}

static void check_nothing_hidden(const vlm_group *group)
{
    for (int64_t i = 0; i < (group->n_images + group->n_pairs) * PATCHES; i++)
        CHECK_INT(group->patch_mask[i], 0);
    for (int64_t i = 0; i < group->n_tokens; i++) CHECK_INT(group->token_target[i], -1);
}

TEST(vqa_has_pictures_by_number_and_soft_targets)
{
    prepare();
    write_task("vqa", true, NULL,
               "{\"labels\": [%d, 9], \"scores\": [0.3, 0], \"pictures\": [%d]}");
    vlmoe_error error = {0};
    vlm_source *bad = open_task("vqa", "pairs", "vqa", VLM_SOURCE_EVAL, NULL);
    const vlm_group *group = NULL;
    CHECK_STATUS(vlm_source_next(bad, &group, &error), VLMOE_E_FORMAT); /* there is no class 9 */
    CHECK_HAS(error.text, "00000.tar, sample s000 at byte 0: label 9 of its json");
    vlm_source_close(bad);
    write_task("vqa2", true, NULL, "{\"labels\": [%d], \"scores\": [0.3], \"pictures\": [%d]}");
    for (int mode = 0; mode < 2; mode++) {
        vlm_source *source = open_task("vqa", "pairs", "vqa2", (vlm_source_mode)mode, NULL);
        CHECK(vlm_source_classes(source)->n == CLASSES);
        CHECK_INT(vlm_source_pictures(source, PAIRS), 1);
        for (int g = 0; g < 3; g++) {
            group = next(source);
            CHECK(group->n_images == 0 && group->n_texts == 0 && group->n_pairs == 3);
            CHECK_INT(group->n_examples, 3);
            check_nothing_hidden(group);
            for (int64_t i = 0; i < 3; i++) {
                const int64_t sample = group->sample[i];
                if (mode == VLM_SOURCE_EVAL) CHECK_INT(sample, 3 * g + i);
                check_picture(group, i, 40 + sample % N_SHARED);
                check_text(group, i, sample);
                CHECK_INT(group->label_offset[i], i);
                CHECK(group->label[i] == sample % CLASSES && group->label_score[i] == 0.3f);
            }
        }
        vlm_source_close(source);
    }
}

TEST(nlvr2_has_each_text_with_two_pictures)
{
    prepare();
    write_task("nlvr2", true, NULL, "{\"labels\": [%d], \"pictures\": [%d, %d]}");
    for (int mode = 0; mode < 2; mode++) {
        vlm_source *source = open_task("nlvr2", "pairs", "nlvr2", (vlm_source_mode)mode, NULL);
        const vlm_group *group = next(source);
        CHECK(group->n_pairs == 6 && group->n_examples == 3 && group->n_images == 0);
        check_nothing_hidden(group);
        for (int64_t i = 0; i < 6; i++) {
            CHECK_INT(group->sample[i], group->sample[i - i % 2]);
            check_picture(group, i, 40 + (group->sample[i] + i % 2) % N_SHARED);
            check_text(group, i, group->sample[i]);
        }
        for (int64_t i = 0; i < 3; i++) check_one_label(group, i, group->sample[2 * i]);
        vlm_source_close(source);
    }
    vlm_source *source = open_task("nlvr2", "pairs", "nlvr2", VLM_SOURCE_EVAL, NULL);
    uint8_t pixels[2 * PIXELS];
    vlm_sample_view view;
    CHECK_INT(vlm_source_pictures(source, PAIRS), 2);
    CHECK_STATUS(vlm_source_sample(source, PAIRS, 3, pixels, &view, NULL), VLMOE_OK);
    CHECK(pixels[0] == 43 && pixels[PIXELS] == 40 && view.n_texts == 1 && view.json_bytes > 0);
    vlm_source_close(source);
}

TEST(nlvr2_takes_the_two_images_of_a_sample)
{
    prepare();
    vlm_shard_writer *writer = open_writer("own");
    static unsigned char second[1024];
    for (int i = 0; i < 4; i++) {
        vlm_bytes image = picture_of((uint8_t)(60 + i));
        memcpy(second, image.data, image.bytes);
        vlm_sample sample = {.image2 = {second, image.bytes}};
        sample.image = picture_of((uint8_t)(20 + i));
        put_text(&sample, text_of(i));
        if (i < 3) sample.json = (vlm_bytes){(const unsigned char *)"{\"labels\": [1]}", 15};
        else sample.image2.data = NULL;
        put_sample(writer, &sample);
    }
    CHECK_STATUS(vlm_shard_writer_close(writer, NULL), VLMOE_OK);
    write_labels("own");
    vlm_source *source = open_task("nlvr2", "pairs", "own", VLM_SOURCE_EVAL, NULL);
    const vlm_group *group = next(source);
    for (int64_t i = 0; i < 6; i++) check_picture(group, i, (i % 2 ? 60 : 20) + i / 2);
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_source_next(source, &group, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "the sample has 1 picture, and this task reads 2");
    vlm_source_close(source);
}

TEST(retrieval_has_pictures_and_texts_apart)
{
    prepare();
    write_task("retrieval", true, " red  dog ", "{\"image_id\": %d}");
    vlm_source *source = open_task("retrieval", "pairs", "retrieval", VLM_SOURCE_TRAIN, NULL);
    bool has_second = false;
    for (int g = 0; g < 6; g++) {
        const vlm_group *group = next(source);
        CHECK(group->n_images == 3 && group->n_texts == 3 && group->n_pairs == 0);
        CHECK_INT(group->n_examples, 3);
        check_nothing_hidden(group);
        for (int64_t i = 0; i < 3; i++) {
            CHECK_INT(group->sample[i], group->sample[3 + i]);
            check_picture(group, i, group->sample[i]);
            CHECK_INT(group->label_offset[i + 1], 0);
            const bool is_second = words(group, i) != words(group, (i + 1) % 3);
            has_second = has_second || is_second;
            for (int64_t k = 0; k < 3; k++) { /* equal concepts: equal texts */
                const int64_t n = words(group, i);
                const bool is_equal =
                    words(group, k) == n && !memcmp(group->token + group->text_offset[i],
                                                    group->token + group->text_offset[k],
                                                    (size_t)(n + 2) * sizeof(int32_t));
                CHECK(is_equal == (group->concept[i] == group->concept[k]));
            }
        }
    }
    CHECK(has_second);
    vlm_source_close(source);
    source = open_task("retrieval", "pairs", "retrieval", VLM_SOURCE_EVAL, NULL);
    const vlm_group *group = next(source);
    vlm_sample_view view;
    for (int64_t i = 0; i < 3; i++) check_text(group, i, i);
    CHECK_STATUS(vlm_source_sample(source, PAIRS, 9, NULL, &view, NULL), VLMOE_OK);
    CHECK(view.n_texts == 2 && view.texts[1].bytes == strlen(" red  dog "));
    vlm_source_close(source);
}

TEST(captions_are_equal_but_for_spaces_at_their_ends)
{
    static const char *const captions[] = {"red dog", " red dog\n", "red  dog", "red cat"};
    prepare();
    vlm_shard_writer *writer = open_writer("captions");
    for (int i = 0; i < 4; i++) {
        vlm_sample sample = {.image = picture_of((uint8_t)i)};
        put_text(&sample, captions[i]);
        put_sample(writer, &sample);
    }
    CHECK_STATUS(vlm_shard_writer_close(writer, NULL), VLMOE_OK);
    vlm_source *source = open_task("retrieval", "pairs", "captions", VLM_SOURCE_EVAL, NULL);
    const vlm_group *group = next(source);
    CHECK(group->concept[0] == group->concept[1] && group->concept[0] != group->concept[2]);
    const int64_t first = group->concept[0];
    CHECK(next(source)->concept[0] != first); /* the fourth, in the next group */
    vlm_source_close(source);
}

/* The lower halves of their hashes are equal: two different captions, that is one pair of 100,000 or so. */
TEST(captions_are_told_from_each_other_by_a_whole_hash)
{
    static const char *const captions[] = {"801 red dogs", "95021 red dogs"};
    uint64_t hash[2];
    prepare();
    vlm_shard_writer *writer = open_writer("halves");
    for (int i = 0; i < 2; i++) {
        vlm_sample sample = {.image = picture_of((uint8_t)i)};
        put_text(&sample, captions[i]);
        put_sample(writer, &sample);
        hash[i] = vlm_hash64(captions[i], strlen(captions[i]));
    }
    CHECK_STATUS(vlm_shard_writer_close(writer, NULL), VLMOE_OK);
    CHECK((uint32_t)hash[0] == (uint32_t)hash[1] && hash[0] != hash[1]);
    vlm_source *source = open_task("retrieval", "pairs", "halves", VLM_SOURCE_EVAL, NULL);
    const vlm_group *group = next(source);
    CHECK(group->concept[0] != group->concept[1]);
    vlm_source_close(source);
}

TEST(classify_has_images_and_labels)
{
    prepare();
    write_task("classify", false, NULL, "{\"labels\": [%d], \"scores\": [1]}");
    vlm_source *source = open_task("classify", "images", "classify", VLM_SOURCE_EVAL, NULL);
    for (int g = 0; g < 4; g++) {
        const vlm_group *group = next(source);
        CHECK(group->n_images == (g < 3 ? 3 : 1) && group->n_examples == group->n_images);
        for (int64_t i = 0; i < group->n_images; i++) {
            check_picture(group, i, 3 * g + i);
            check_one_label(group, i, 3 * g + i);
        }
    }
    CHECK(next(source) == NULL);
    vlm_source_close(source);
    write_task("half", false, NULL, "{\"labels\": [%d], \"scores\": [0.5]}");
    source = open_task("classify", "images", "half", VLM_SOURCE_EVAL, NULL);
    const vlm_group *group = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_source_next(source, &group, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "the scores of its labels add up to 0.5, not 1");
    vlm_source_close(source);
}

TEST(nli_reads_premise_and_hypothesis_together)
{
    prepare();
    write_task("nli", true, "old river", "{\"labels\": [%d]}");
    vlm_source *source = open_task("nli", "texts", "nli", VLM_SOURCE_EVAL, NULL);
    const vlm_group *group = next(source);
    CHECK(group->n_texts == 3 && group->n_examples == 3 && group->n_images == 0);
    for (int64_t i = 0; i < 3; i++) {
        int32_t ids[64];
        int64_t n, n_all;
        const vlm_bytes two[] = {{(const unsigned char *)text_of(i), strlen(text_of(i))},
                                 {(const unsigned char *)"old river", 9}};
        CHECK_STATUS(vlm_spm_encode_pair(prepare(), two, 40, ids, &n, &n_all, NULL), VLMOE_OK);
        CHECK_INT(group->text_offset[i + 1] - group->text_offset[i], n);
        CHECK(!memcmp(group->token + group->text_offset[i], ids, (size_t)n * sizeof *ids));
        check_one_label(group, i, i);
    }
    vlm_source_close(source);
    write_task("nli-one", true, NULL, "{\"labels\": [%d]}");
    source = open_task("nli", "texts", "nli-one", VLM_SOURCE_EVAL, NULL);
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_source_next(source, &group, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "the sample has 1 text, and this task reads two");
    vlm_source_close(source);
}

/* Samples 0, 4 and 8 have a label with a score above 0, the others one of score 0. */
static void write_some(void)
{
    vlm_shard_writer *writer = open_writer("some");
    for (int i = 0; i < N; i++) {
        char json[200];
        vlm_sample sample = {.image = picture_of((uint8_t)i)};
        const int bytes =
            snprintf(json, sizeof json, "{\"labels\": [1], \"scores\": [%d]}", i % 4 == 0);
        sample.json = (vlm_bytes){(unsigned char *)json, (size_t)bytes};
        put_sample(writer, &sample);
    }
    CHECK_STATUS(vlm_shard_writer_close(writer, NULL), VLMOE_OK);
    write_labels("some");
}

TEST(unlabelled_samples_are_an_error_or_skipped)
{
    prepare();
    write_some();
    vlm_source *source =
        open_task("classify", "images", "some", VLM_SOURCE_TRAIN, "data.images_per_group=10");
    const vlm_group *group = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_source_next(source, &group, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "no label with a score above 0; task.unlabelled = skip");
    vlm_source_close(source);
    source = open_task("classify", "images", "some", VLM_SOURCE_TRAIN, "task.unlabelled=skip");
    int64_t seen[N] = {0};
    for (int g = 0; g < 4; g++) {
        group = next(source);
        for (int64_t i = 0; i < 3; i++) {
            seen[group->sample[i]]++;
            check_picture(group, i, group->sample[i]);
        }
    }
    for (int64_t i = 0; i < N; i++) CHECK_INT(seen[i], i % 4 ? 0 : 4); /* 12 draws of 3 samples */
    CHECK_STATUS(vlm_source_seek(source, 1, NULL), VLMOE_OK);
    CHECK_INT(next(source)->n_examples, 3);
    vlm_source_close(source);
    source = open_task("classify", "images", "some", VLM_SOURCE_EVAL, "task.unlabelled=skip");
    for (int g = 0; g < 3; g++) { /* held out, all are walked */
        group = next(source);
        for (int64_t i = 0; i < 3; i++) {
            CHECK_INT(group->sample[i], 3 * g + i);
            CHECK_INT(group->label_offset[i + 1] - group->label_offset[i], (3 * g + i) % 4 == 0);
        }
    }
    vlm_source_close(source);
}

TEST(pretraining_with_a_contrastive_part_has_concepts_of_its_pairs)
{
    vlm_source *source =
        open_source(VLM_SOURCE_TRAIN, KEYS("objective.contrastive_weight=1", "run.groups=1",
                                           "objective.image_weight=0", "objective.text_weight=0"));
    const vlm_group *group = next(source);
    CHECK(group->n_pairs == 3 && group->n_examples == 3 && group->label_offset[3] == 0);
    CHECK(group->concept[0] != group->concept[1] && group->concept[1] != group->concept[2]);
    CHECK(check_text(group, 0, group->sample[0]) > 0); /* words are hidden as ever */
    vlm_source_close(source);
    source = open_source(VLM_SOURCE_TRAIN, NULL);
    CHECK(next(source)->n_examples == 0 && next(source)->concept == NULL);
    vlm_source_close(source);
}

TEST(pretraining_reads_pictures_by_number_too)
{
    prepare();
    vlm_source *source = open_task("pretrain", "pairs", "vqa2", VLM_SOURCE_EVAL, NULL);
    const vlm_group *group = next(source);
    CHECK(group->n_pairs == 3 && group->n_examples == 0);
    for (int64_t i = 0; i < 3; i++) check_picture(group, group->n_images + i, 40 + i);
    vlm_source_close(source);
}

/* Examples, pictures and texts of a group of three, and tokens it has room for. */
TEST(shape_of_a_group_follows_its_task)
{
    static const struct {
        const char *task;
        vlm_group_shape want;
    } cases[] = {
        {"run.task=vqa", {3, 3, 3, SIDE, PATCHES, 40, 3, 3 * 2 * VLM_LABELS_MAX}},
        {"run.task=nlvr2", {6, 6, 6, SIDE, PATCHES, 40, 3, 3 * 2 * VLM_LABELS_MAX}},
        {"run.task=retrieval", {3, 3, 6, SIDE, PATCHES, 40, 3, 0}},
        {"run.task=classify", {4, 0, 4, SIDE, PATCHES, 40, 4, 4 * 2 * VLM_LABELS_MAX}},
        {"run.task=nli", {0, 5, 5, SIDE, PATCHES, 40, 5, 5 * 2 * VLM_LABELS_MAX}},
        {"run.task=pretrain", {7, 8, 12, SIDE, PATCHES, 40, 0, 0}},
    };
    for (int i = 0; i < VLM_COUNT(cases); i++) {
        vlmoe_config *config = make_config(KEYS(cases[i].task));
        const vlm_group_shape got = vlm_group_shape_of(config), want = cases[i].want;
        CHECK(got.n_pictures == want.n_pictures && got.n_texts == want.n_texts);
        CHECK(got.n_samples == want.n_samples && got.n_examples == want.n_examples);
        CHECK(got.n_labels == want.n_labels && got.text_len == want.text_len);
        CHECK(got.image_size == want.image_size && got.n_patches == want.n_patches);
        vlmoe_config_destroy(config);
    }
}

TEST(a_shared_picture_is_decoded_once)
{
    prepare();
    vlm_source *source = open_task("vqa", "pairs", "vqa2", VLM_SOURCE_TRAIN, NULL);
    for (int g = 0; g < 12; g++) next(source); /* 36 draws of 10 samples */
    size_t entry = 0, all = vlm_cache_bytes(source->cache);
    vlm_source_close(source);
    source = open_task("vqa", "pairs", "vqa2", VLM_SOURCE_EVAL, "data.val_samples=1");
    CHECK(next(source) != NULL);
    entry = vlm_cache_bytes(source->cache);
    vlm_source_close(source);
    CHECK(entry > 20 * 12 * 3);
    CHECK_INT(all, N_SHARED * entry);
}

TEST(randaug_changes_training_pictures_alone)
{
    prepare();
    int n_changed = 0;
    for (int mode = 0; mode < 2; mode++) {
        vlm_source *plain = open_task("vqa", "pairs", "vqa2", (vlm_source_mode)mode, NULL);
        vlm_source *random =
            open_task("vqa", "pairs", "vqa2", (vlm_source_mode)mode, "data.randaug_n=4");
        vlm_source *again =
            open_task("vqa", "pairs", "vqa2", (vlm_source_mode)mode, "data.randaug_n=4");
        for (int g = 0; g < 3; g++) {
            const vlm_group *a = next(plain), *b = next(random);
            const uint64_t hash = hash_group(b);
            CHECK(hash_group(next(again)) == hash);
            if (mode == VLM_SOURCE_EVAL) CHECK(hash_group(a) == hash);
            else n_changed += memcmp(a->pixels, b->pixels, 3 * PIXELS) != 0;
        }
        vlm_source_close(plain);
        vlm_source_close(random);
        vlm_source_close(again);
    }
    CHECK_INT(n_changed, 3);
}

static void open_fails(const char *const *keys, const char *says)
{
    vlmoe_config *config = make_config(keys);
    vlm_source *source = NULL;
    vlmoe_error error = {0};
    CHECK(vlm_source_open(config, VLM_SOURCE_TRAIN, prepare(), NULL, &source, &error) != VLMOE_OK);
    CHECK_HAS(error.text, says);
    vlmoe_config_destroy(config);
}

TEST(task_sources_refuse_sets_that_do_not_fit)
{
    prepare();
    char two[1300], none[700];
    static const char other[] = "zero\none\n";
    char path[600];
    write_set("unnamed", IMAGES, 0, 4, NULL);
    snprintf(none, sizeof none, "data.images=[\"%s\"]", folder("unnamed"));
    open_fails(KEYS("run.task=classify", none), "unnamed/labels.txt");
    write_set("other", IMAGES, 0, 4, NULL);
    snprintf(path, sizeof path, "%s/labels.txt", folder("other"));
    CHECK_STATUS(vlm_file_replace(path, other, strlen(other), NULL), VLMOE_OK);
    snprintf(two, sizeof two, "data.images=[\"%s\", \"%s\"]", folder("some"), folder("other"));
    open_fails(KEYS("run.task=classify", two), "name other classes from line 3 on");
    snprintf(none, sizeof none, "data.images=[\"%s\"]", folder("other"));
    open_fails(KEYS("run.task=classify", none, "task.unlabelled=skip"),
               "none of its 4 samples has a label");
    write_task("absent", true, NULL, "{\"labels\": [%d], \"pictures\": [9]}");
    vlm_source *source = open_task("vqa", "pairs", "absent", VLM_SOURCE_EVAL, NULL);
    const vlm_group *group = NULL;
    vlmoe_error error = {0};
    CHECK_STATUS(vlm_source_next(source, &group, &error), VLMOE_E_FORMAT);
    CHECK_HAS(error.text, "names picture 9, but pictures/ of its set holds 4");
    vlm_source_close(source);
}

TEST(task_groups_do_not_depend_on_workers_cache_or_start)
{
    prepare();
    uint64_t want[6];
    vlm_source *source = open_task("vqa", "pairs", "vqa2", VLM_SOURCE_TRAIN, NULL);
    for (int g = 0; g < 6; g++) want[g] = hash_group(next(source));
    vlm_source_close(source);
    static const char *const ways[] = {"data.workers=3", "data.cache=false", "data.cache_mib=0"};
    for (int w = 0; w < 3; w++) {
        source = open_task("vqa", "pairs", "vqa2", VLM_SOURCE_TRAIN, ways[w]);
        CHECK_STATUS(vlm_source_seek(source, 1, NULL), VLMOE_OK); /* two groups a step */
        for (int g = 2; g < 6; g++) CHECK(hash_group(next(source)) == want[g]);
        vlm_source_close(source);
    }
}
