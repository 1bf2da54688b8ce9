/* Opening the streams of a config and handing out groups in order. Not here: what a group holds
 * (data_group.c), what a config means for it (data_settings.c), what lies in folders (data_sets.c),
 * threads (data_prefetch.c). */
#include "base_hash.h"
#include "data_source.h"

static vlmoe_status mix_sets(vlm_sets *sets, const vlm_reals *weights, vlmoe_error *error)
{
    int64_t *sizes = vlm_alloc_array((size_t)sets->n_sets, sizeof *sizes);
    if (!sizes) return vlm_fail(error, VLMOE_E_NOMEM, "%s: no memory for its sets", sets->name);
    for (int64_t i = 0; i < sets->n_sets; i++) sizes[i] = vlm_sets_size(sets, i);
    vlmoe_status status = vlm_mix_init(&sets->mix, sets->n_sets, sizes,
                                       weights->n ? weights->at : NULL, sets->name, error);
    vlm_free(sizes);
    return status;
}

static void log_stream(const vlm_source *source, const vlm_sets *sets, const vlm_log *log)
{
    int64_t drawn = 0;
    if (!log) return;
    for (int64_t i = 0; i < sets->n_sets; i++) drawn += vlm_sets_size(sets, i);
    vlm_logf(log, VLMOE_LOG_INFO, "data", "%s: %lld samples in %lld set%s, %lld a group",
             sets->name, (long long)sets->samples, (long long)sets->n_sets,
             sets->n_sets == 1 ? "" : "s", (long long)sets->per_group);
    if (sets->is_labelled)
        vlm_logf(log, VLMOE_LOG_INFO, "data", "%s: %lld classes", sets->name,
                 (long long)sets->classes.n);
    if (drawn < sets->samples)
        vlm_logf(log, VLMOE_LOG_WARN, "data",
                 "%s: %lld samples have no label and are skipped (task.unlabelled)", sets->name,
                 (long long)(sets->samples - drawn));
    if (source->mode == VLM_SOURCE_TRAIN && drawn < sets->per_group * source->groups)
        vlm_logf(log, VLMOE_LOG_WARN, "data",
                 "%s: a step takes %lld samples but there are %lld, so it sees some of them twice",
                 sets->name, (long long)(sets->per_group * source->groups), (long long)drawn);
}

/* A stream whose key names no folder is off: an objective without data. */
static vlmoe_status open_stream(vlm_source *source, int stream, const vlmoe_config *config,
                                const vlm_log *log, vlmoe_error *error)
{
    const vlm_cfg_data *data = &config->data;
    const vlm_texts *folders[2][VLM_STREAMS] = {
        {&data->images, &data->texts, &data->pairs},
        {&data->val_images, &data->val_texts, &data->val_pairs}};
    const vlm_reals *weights[VLM_STREAMS] = {&data->images_mix, &data->texts_mix, &data->pairs_mix};
    vlm_sets *sets = &source->sets[stream];
    const vlm_texts *names = folders[source->mode == VLM_SOURCE_EVAL][stream];
    if (sets->is_on && names->n == 0 && log)
        vlm_logf(log, VLMOE_LOG_INFO, "data", "%s names no folder: this stream is off", sets->name);
    sets->is_on = sets->is_on && names->n > 0;
    if (!sets->is_on) return VLMOE_OK;
    if (sets->has_text && !source->spm)
        return vlm_fail(error, VLMOE_E_ARG,
                        "%s has texts, but data.text_model names no SentencePiece model",
                        sets->name);
    VLM_TRY(vlm_sets_open(sets, names, error));
    sets->n_used = VLM_MIN(sets->samples, data->val_samples);
    if (source->mode == VLM_SOURCE_TRAIN) VLM_TRY(mix_sets(sets, weights[stream], error));
    log_stream(source, sets, log);
    return VLMOE_OK;
}

/* Groups of an evaluation: until the longest stream has run out. -1 = endless. */
static int64_t group_limit(const vlm_source *source)
{
    int64_t n = 0;
    if (source->mode == VLM_SOURCE_TRAIN) return -1;
    for (int i = 0; i < VLM_STREAMS; i++) {
        const vlm_sets *sets = &source->sets[i];
        if (sets->is_on) n = VLM_MAX(n, (sets->n_used + sets->per_group - 1) / sets->per_group);
    }
    return n;
}

/* turn: which of this rank's groups. R divides G, so its groups of all steps are R apart. */
static vlmoe_status prepare(void *arg, int64_t turn, int slot, int worker,
                            const atomic_bool *cancel, vlmoe_error *error)
{
    vlm_source *source = arg;
    const int64_t number = turn * source->ranks + source->rank, limit = group_limit(source);
    vlm_group *group = &source->slots[slot];
    group->is_repeat = limit >= 0 && number >= limit;
    return vlm_group_fill(source, group->is_repeat ? limit - 1 : number, source->workspaces[worker],
                          group, cancel, error);
}

static vlmoe_status start_prefetch(vlm_source *source, vlmoe_error *error)
{
    const int64_t limit = group_limit(source);
    const vlm_prefetch_params params = {
        .fn = prepare,
        .arg = source,
        .n_workers = source->n_workers,
        .n_slots = source->n_slots,
        .limit = limit < 0 ? limit : (limit + source->ranks - 1) / source->ranks,
    };
    return vlm_prefetch_open(&params, &source->prefetch, error);
}

/* One for each thread that makes groups, and one for the caller's samples. */
static vlmoe_status make_workspaces(vlm_source *source, vlmoe_error *error)
{
    const int n = source->n_workers + 1;
    source->workspaces = vlm_alloc_array((size_t)n, sizeof(vlm_workspace *));
    if (!source->workspaces)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %d prefetch threads", n);
    for (int i = 0; i < n; i++) VLM_TRY(vlm_workspace_create(&source->workspaces[i], error));
    return VLMOE_OK;
}

static vlmoe_status start(vlm_source *source, const vlm_cfg_data *data, vlmoe_error *error)
{
    const bool has_pictures = source->sets[VLM_IMAGES].is_on || source->sets[VLM_PAIRS].is_on;
    if (data->cache && data->cache_mib > 0 && has_pictures)
        VLM_TRY(vlm_cache_create((size_t)data->cache_mib << 20, &source->cache, error));
    const int n_slots = (int)data->prefetch + 1;
    source->slots = vlm_alloc_array((size_t)n_slots, sizeof *source->slots);
    if (!source->slots) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for %d groups", n_slots);
    for (; source->n_slots < n_slots; source->n_slots++)
        VLM_TRY(vlm_group_reserve(source, &source->slots[source->n_slots], error));
    source->n_workers = (int)VLM_MIN(data->workers, data->prefetch); /* a group is one thread's */
    VLM_TRY(make_workspaces(source, error));
    return start_prefetch(source, error);
}

static vlmoe_status open_all(vlm_source *source, const vlmoe_config *config, const vlm_log *log,
                             vlmoe_error *error)
{
    VLM_TRY(vlm_source_settle(source, config, error));
    for (int i = 0; i < VLM_STREAMS; i++) VLM_TRY(open_stream(source, i, config, log, error));
    const vlm_sets *sets = source->sets;
    if (!sets[VLM_IMAGES].is_on && !sets[VLM_TEXTS].is_on && !sets[VLM_PAIRS].is_on)
        return vlm_fail(error, VLMOE_E_ARG,
                        "no stream of data: each of %s, %s and %s names no folder, has 0 samples a "
                        "group, or its objective weights are 0",
                        sets[VLM_IMAGES].name, sets[VLM_TEXTS].name, sets[VLM_PAIRS].name);
    return start(source, &config->data, error);
}

vlmoe_status vlm_source_open(const vlmoe_config *config, vlm_source_mode mode, const vlm_spm *spm,
                             const vlm_log *log, vlm_source **out, vlmoe_error *error)
{
    vlm_source *source = vlm_alloc(sizeof *source);
    if (!source) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a source of data");
    source->mode = mode;
    source->spm = spm;
    source->ranks = 1;
    vlmoe_status status = open_all(source, config, log, error);
    if (status) {
        vlm_source_close(source);
        return status;
    }
    *out = source;
    return VLMOE_OK;
}

void vlm_source_close(vlm_source *source)
{
    if (!source) return;
    vlm_prefetch_close(source->prefetch);
    for (int i = 0; i < source->n_slots; i++) vlm_free(source->slots[i].pixels);
    vlm_free(source->slots);
    for (int i = 0; source->workspaces && i <= source->n_workers; i++)
        vlm_workspace_destroy(source->workspaces[i]);
    vlm_free(source->workspaces);
    vlm_cache_destroy(source->cache);
    for (int i = 0; i < VLM_STREAMS; i++) vlm_sets_close(&source->sets[i]);
    vlm_free(source);
}

vlmoe_status vlm_source_share(vlm_source *source, int rank, int ranks, vlmoe_error *error)
{
    bool is_whole = source->mode == VLM_SOURCE_EVAL || (ranks > 0 && source->groups % ranks == 0);
    if (ranks < 1 || rank < 0 || rank >= ranks || !is_whole)
        return vlm_fail(error, VLMOE_E_ARG, "data for rank %d of %d with run.groups %lld", rank,
                        ranks, (long long)source->groups);
    vlm_prefetch_close(source->prefetch);
    source->prefetch = NULL;
    source->rank = rank;
    source->ranks = ranks;
    return start_prefetch(source, error);
}

vlmoe_status vlm_source_seek(vlm_source *source, int64_t step, vlmoe_error *error)
{
    int64_t turn = 0;
    if (step < 0 || !vlm_mul_i64(step, source->groups / source->ranks, &turn))
        return vlm_fail(error, VLMOE_E_ARG, "data cannot start at step %lld", (long long)step);
    vlm_prefetch_seek(source->prefetch, turn);
    return VLMOE_OK;
}

vlmoe_status vlm_source_next(vlm_source *source, const vlm_group **out, vlmoe_error *error)
{
    int slot = -1;
    VLM_TRY(vlm_prefetch_next(source->prefetch, &slot, error));
    *out = slot < 0 ? NULL : &source->slots[slot];
    return VLMOE_OK;
}

/* hash, and then a set's shards. */
static uint64_t chain_shards(uint64_t hash, const vlm_shards *shards, int stream, int64_t set)
{
    for (int64_t k = 0; shards && k < vlm_shards_n_files(shards); k++) {
        const vlm_shard_info info = vlm_shards_file(shards, k);
        const uint64_t link[] = {
            hash, (uint64_t)stream, (uint64_t)set, (uint64_t)info.n_samples, info.bytes, info.hash};
        hash = vlm_hash64(link, sizeof link);
    }
    return hash;
}

uint64_t vlm_source_hash(const vlm_source *source)
{
    uint64_t hash = 0;
    for (int i = 0; i < VLM_STREAMS; i++) {
        const vlm_sets *sets = &source->sets[i];
        for (int64_t j = 0; j < sets->n_sets; j++) {
            hash = chain_shards(hash, sets->set[j], i, j);
            hash = chain_shards(hash, sets->pictures[j], i, j);
        }
        if (!sets->classes.n) continue;
        const uint64_t link[] = {hash, (uint64_t)i, sets->classes.hash};
        hash = vlm_hash64(link, sizeof link);
    }
    return hash;
}

static const vlm_sets *with_classes(const vlm_source *source)
{
    for (int i = 0; i < VLM_STREAMS; i++)
        if (source->sets[i].classes.n) return &source->sets[i];
    return &source->sets[0];
}

const vlm_classes *vlm_source_classes(const vlm_source *source)
{
    return &with_classes(source)->classes;
}

vlmoe_status vlm_source_same_classes(const vlm_source *a, const vlm_source *b, vlmoe_error *error)
{
    const vlm_sets *of_a = with_classes(a), *of_b = with_classes(b);
    if (!of_a->classes.n || !of_b->classes.n) return VLMOE_OK;
    char *a_name = vlm_format("labels.txt of %s", of_a->name),
         *b_name = vlm_format("labels.txt of %s", of_b->name);
    vlmoe_status st =
        a_name && b_name
            ? vlm_classes_compare(&of_a->classes, a_name, &of_b->classes, b_name, error)
            : vlm_fail(error, VLMOE_E_NOMEM, "no memory for the names of classes");
    vlm_free(a_name);
    vlm_free(b_name);
    return st;
}

int vlm_source_pictures(const vlm_source *source, int stream)
{
    return stream >= 0 && stream < VLM_STREAMS && source->sets[stream].has_pixels
               ? source->sets[stream].n_pictures
               : 0;
}

int64_t vlm_source_samples(const vlm_source *source, int stream)
{
    return stream >= 0 && stream < VLM_STREAMS ? source->sets[stream].samples : 0;
}

int64_t vlm_source_held_out(const vlm_source *source, int stream)
{
    return stream >= 0 && stream < VLM_STREAMS ? source->sets[stream].n_used : 0;
}

double vlm_source_wait_seconds(const vlm_source *source)
{
    return vlm_prefetch_wait_seconds(source->prefetch);
}
