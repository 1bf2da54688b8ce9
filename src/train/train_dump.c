/* A step's dump: arrays collected in memory, then written in order. */
#include <string.h>
#include "base_json.h"
#include "base_rng.h"
#include "train_dump_parts.h"
#include "train_params.h"

typedef struct entry {
    char *name;
    vlm_st_dtype dtype;
    int rank;
    int64_t dims[VLM_ST_MAX_RANK];
    void *data;
    size_t bytes;
} entry;

struct vlm_dump {
    char *path;
    entry *entries;
    int64_t n, capacity;
};

vlmoe_status vlm_dump_open(const char *path, vlm_dump **out, vlmoe_error *error)
{
    vlm_dump *dump = vlm_alloc(sizeof *dump);
    if (dump) dump->path = vlm_strdup(path);
    if (!dump || !dump->path) {
        vlm_free(dump);
        return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a step dump");
    }
    *out = dump;
    return VLMOE_OK;
}

void vlm_dump_abandon(vlm_dump *dump)
{
    if (!dump) return;
    for (int64_t i = 0; i < dump->n; i++) {
        vlm_free(dump->entries[i].name);
        vlm_free(dump->entries[i].data);
    }
    vlm_free(dump->entries);
    vlm_free(dump->path);
    vlm_free(dump);
}

static entry *new_entry(vlm_dump *dump)
{
    if (dump->n == dump->capacity) {
        int64_t capacity = dump->capacity ? 2 * dump->capacity : 256;
        entry *grown = vlm_alloc_array((size_t)capacity, sizeof *grown);
        if (!grown) return NULL;
        if (dump->n) memcpy(grown, dump->entries, (size_t)dump->n * sizeof *grown);
        vlm_free(dump->entries);
        dump->entries = grown;
        dump->capacity = capacity;
    }
    return &dump->entries[dump->n++];
}

/* Where to put bytes: an entry of this name and shape, its data to be filled by the caller. Takes name; NULL = out of memory. */
static void *add(vlm_dump *dump, char *name, vlm_st_dtype dtype, int rank, const int64_t *dims)
{
    size_t bytes = vlm_st_dtype_size(dtype);
    for (int i = 0; i < rank; i++) bytes *= (size_t)dims[i];
    entry *e = name ? new_entry(dump) : NULL;
    if (!e) {
        vlm_free(name);
        return NULL;
    }
    *e = (entry){
        .name = name, .dtype = dtype, .rank = rank, .bytes = bytes, .data = vlm_alloc(bytes)};
    memcpy(e->dims, dims, (size_t)rank * sizeof *dims);
    return e->data;
}

static vlmoe_status out_of_memory(vlmoe_trainer *t)
{
    return vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for the step dump");
}

vlmoe_status vlm_dump_host(vlm_dump *dump, vlmoe_trainer *t, char *name, vlm_st_dtype dtype,
                           int rank, const int64_t *dims, const void *data)
{
    void *out = add(dump, name, dtype, rank, dims);
    if (!out) return out_of_memory(t);
    size_t bytes = dump->entries[dump->n - 1].bytes;
    if (bytes) memcpy(out, data, bytes);
    return VLMOE_OK;
}

vlmoe_status vlm_dump_device(vlm_dump *dump, vlmoe_trainer *t, char *name, vlm_st_dtype dtype,
                             int rank, const int64_t *dims, const void *data)
{
    void *out = add(dump, name, dtype, rank, dims);
    if (!out) return out_of_memory(t);
    vlmoe_status st =
        t->ctx->backend->download(t->ctx->device, out, data, dump->entries[dump->n - 1].bytes);
    return st ? vlm_fail(&t->error, st, "cannot read %s from the device",
                         dump->entries[dump->n - 1].name)
              : VLMOE_OK;
}

typedef struct tensor_job {
    vlm_dump *dump;
    vlmoe_trainer *trainer;
    const char *prefix;
    bool is_grad;
    float factor;
} tensor_job;

static vlmoe_status add_tensor(void *arg, const vlm_file_tensor *tensor)
{
    tensor_job *job = arg;
    const vlm_piece *whole = tensor->pieces;
    char *name = vlm_format("%s/%s", job->prefix, tensor->name);
    VLM_TRY(vlm_dump_device(job->dump, job->trainer, name, VLMOE_F32, tensor->rank, tensor->dims,
                            job->is_grad ? whole->grad : whole->value));
    float *values = job->dump->entries[job->dump->n - 1].data;
    for (int64_t i = 0; i < tensor->n && job->factor != 1.0f; i++) values[i] *= job->factor;
    return VLMOE_OK;
}

vlmoe_status vlm_dump_params(vlm_dump *dump, vlmoe_trainer *t, const char *prefix)
{
    const bool trained_only =
        !t->head; /* a task's frozen ones are its model's; else they are a tokeniser's */
    tensor_job job = {dump, t, prefix, false, 1.0f};
    return vlm_file_tensors_walk(t->ctx, trained_only, add_tensor, &job, &t->error);
}

vlmoe_status vlm_dump_grads(vlm_dump *dump, vlmoe_trainer *t)
{
    tensor_job job = {dump, t, "grad", true, 1.0f / (float)t->config->run.groups};
    return vlm_file_tensors_walk(t->ctx, true, add_tensor, &job, &t->error);
}

static vlmoe_status dump_inputs(vlm_dump *dump, vlmoe_trainer *t, const vlm_group *g,
                                const char *base)
{
    int64_t pictures = g->n_images + g->n_pairs, texts = g->n_pairs + g->n_texts,
            side = g->image_size;
    int32_t counts[3] = {(int32_t)g->n_images, (int32_t)g->n_pairs, (int32_t)g->n_texts};
    VLM_TRY(vlm_dump_host(dump, t, vlm_format("%s/counts", base), VLMOE_I32, 1, D(3), counts));
    VLM_TRY(vlm_dump_host(dump, t, vlm_format("%s/pixels", base), VLMOE_U8, 4,
                          D(pictures, side, side, 3), g->pixels));
    if (g->patch_mask)
        VLM_TRY(vlm_dump_host(dump, t, vlm_format("%s/patch_mask", base), VLMOE_U8, 2,
                              D(pictures, g->n_patches), g->patch_mask));
    VLM_TRY(vlm_dump_host(dump, t, vlm_format("%s/token", base), VLMOE_I32, 1, D(g->n_tokens),
                          g->token));
    if (g->token_target)
        VLM_TRY(vlm_dump_host(dump, t, vlm_format("%s/token_target", base), VLMOE_I32, 1,
                              D(g->n_tokens), g->token_target));
    VLM_TRY(vlm_dump_host(dump, t, vlm_format("%s/text_offset", base), VLMOE_I32, 1, D(texts + 1),
                          g->text_offset));
    if (!t->tokeniser) return VLMOE_OK;
    return vlm_dump_host(dump, t, vlm_format("%s/codes", base), VLMOE_I32, 2,
                         D(pictures, g->n_patches), t->codes);
}

/* The noise itself, drawn again from its key in double: noisy - logits would carry a rounding of the logits. */
static vlmoe_status dump_noise(vlm_dump *dump, vlmoe_trainer *t, vlmoe_tape *tape,
                               const vlm_mome_routing *r, const char *base)
{
    double *noise =
        add(dump, vlm_format("%s/noise", base), VLMOE_F64, 2, D(r->routing->T, r->routing->E));
    if (!noise) return out_of_memory(t);
    uint64_t key = vlm_rng_key(t->ctx->seed, VLM_STREAM_ROUTER, (uint64_t)tape->step,
                               (uint64_t)tape->group, r->layer->policy.site);
    for (int64_t i = 0; i < r->routing->T * r->routing->E; i++)
        noise[i] = r->routing->sigma * vlm_rng_key_normal(key, (uint64_t)i);
    return VLMOE_OK;
}

static vlmoe_status dump_served(vlm_dump *dump, vlmoe_trainer *t, const vlm_routing *r,
                                const char *base)
{
    VLM_TRY(vlm_dump_device(dump, t, vlm_format("%s/slot", base), VLMOE_I32, 2, D(r->T, r->K),
                            r->d_slot));
    const int32_t *slot = dump->entries[dump->n - 1].data;
    uint8_t *served = add(dump, vlm_format("%s/served", base), VLMOE_U8, 2, D(r->T, r->K));
    if (!served) return out_of_memory(t);
    for (int64_t i = 0; i < r->T * r->K; i++) served[i] = slot[i] >= 0;
    return VLMOE_OK;
}

static vlmoe_status dump_routing(vlm_dump *dump, vlmoe_trainer *t, vlmoe_tape *tape,
                                 const vlm_mome_routing *routing, const char *group)
{
    const vlm_routing *r = routing->routing;
    char *base = vlm_format("%s/block.%lld.%c", group, (long long)routing->layer->block,
                            routing->layer->modality);
    if (!base) return out_of_memory(t);
    vlmoe_status st = dump_noise(dump, t, tape, routing, base);
    if (!st)
        st = vlm_dump_device(dump, t, vlm_format("%s/gates", base), VLMOE_F32, 2, D(r->T, r->E),
                             r->d_clean);
    if (!st)
        st = vlm_dump_device(dump, t, vlm_format("%s/expert", base), VLMOE_I32, 2, D(r->T, r->K),
                             r->d_expert);
    if (!st) st = dump_served(dump, t, r, base);
    if (!st)
        st = vlm_dump_device(dump, t, vlm_format("%s/weight", base), VLMOE_F32, 2, D(r->T, r->K),
                             r->d_weight);
    if (!st)
        st = vlm_dump_device(dump, t, vlm_format("%s/set_offset", base), VLMOE_I32, 1,
                             D(r->n_sets + 1), r->d_set_offset);
    if (!st && r->d_losses)
        st = vlm_dump_device(dump, t, vlm_format("%s/losses", base), VLMOE_F32, 2,
                             D(r->n_sets, VLMK_N_LOSSES), r->d_losses);
    vlm_free(base);
    return st;
}

static vlmoe_status dump_results(vlm_dump *dump, vlmoe_trainer *t, vlmoe_tape *tape,
                                 const vlm_masked *m, const char *base)
{
    vlm_part_metrics metrics = {0};
    double losses[VLM_N_PARTS + 1];
    VLM_TRY(vlm_dump_device(dump, t, vlm_format("%s/hidden", base), VLMOE_F32, 2,
                            D(m->model.rows.n_rows, t->config->model.width),
                            m->model.hidden->data));
    VLM_TRY(vlm_masked_metrics(tape, m, &metrics));
    memcpy(losses, metrics.loss, sizeof metrics.loss);
    VLM_TRY(vlmoe_tape_loss(tape, &losses[VLM_N_PARTS]));
    VLM_TRY(vlm_dump_host(dump, t, vlm_format("%s/losses", base), VLMOE_F64, 1, D(VLM_N_PARTS + 1),
                          losses));
    VLM_TRY(vlm_dump_host(dump, t, vlm_format("%s/correct", base), VLMOE_F64, 1, D(VLM_N_PARTS),
                          metrics.correct));
    return VLMOE_OK;
}

vlmoe_status vlm_dump_encoding(vlm_dump *dump, vlmoe_trainer *t, vlmoe_tape *tape,
                               const vlm_mome_output *model, const char *base)
{
    for (int i = 0; i < model->n_routings; i++)
        VLM_TRY(dump_routing(dump, t, tape, &model->routings[i], base));
    if (!model->drop_path) return VLMOE_OK;
    return vlm_dump_host(dump, t, vlm_format("%s/drop_path", base), VLMOE_F32, 2,
                         D(2 * t->config->model.layers, model->rows.n_rows), model->drop_path);
}

vlmoe_status vlm_dump_group(vlm_dump *dump, vlmoe_trainer *t, vlmoe_tape *tape,
                            const vlm_group *group, const vlm_recording *recording)
{
    const vlm_mome_output *model = recording->model;
    char *base = vlm_format("group.%lld", (long long)group->index);
    if (!base) return out_of_memory(t);
    vlmoe_status st = dump_inputs(dump, t, group, base);
    if (!st && model) st = vlm_dump_encoding(dump, t, tape, model, base);
    if (!st && model == &recording->masked.model)
        st = dump_results(dump, t, tape, &recording->masked, base);
    if (!st && model == &recording->masked.model && recording->retrieval.n)
        st = vlm_dump_contrastive(dump, t, tape, &recording->retrieval, base);
    if (!st && model == &recording->task.model)
        st = vlm_dump_task(dump, t, tape, group, &recording->task, base);
    if (!st && model == &recording->retrieval.apart_model)
        st = vlm_dump_retrieval(dump, t, tape, &recording->retrieval, base);
    vlm_free(base);
    return st;
}

static vlmoe_status write_metadata(vlm_st_writer *writer, vlmoe_trainer *t,
                                   const vlmoe_step_report *report, vlmoe_error *error)
{
    vlm_text config = {0}, numbers = {0};
    char device[128] = "";
    t->ctx->backend->describe(t->ctx->device, device, sizeof device);
    vlm_config_write(t->config, false, &config);
    vlmoe_status st = vlm_st_writer_metadata(writer, "format", "vlmoe-step-1", error);
    if (!st) st = vlm_st_writer_metadata(writer, "config", config.data ? config.data : "{}", error);
    if (!st) st = vlm_st_writer_metadata(writer, "device", device, error);
    const struct {
        const char *key;
        double value;
    } facts[] = {{"step", (double)report->step},
                 {"grad_norm", report->grad_norm},
                 {"lr", report->lr},
                 {"loss", report->loss}};
    for (int i = 0; i < VLM_COUNT(facts) && !st; i++) {
        numbers.bytes = 0;
        vlm_text_json_number(&numbers, facts[i].value);
        st = vlm_st_writer_metadata(writer, facts[i].key, numbers.data ? numbers.data : "0", error);
    }
    vlm_text_free(&config);
    vlm_text_free(&numbers);
    return st;
}

/* Declare (writing false) or write every array. Wide types come first, so that each begins where its type may. */
static vlmoe_status put_entries(const vlm_dump *dump, vlm_st_writer *writer, bool writing,
                                vlmoe_error *error)
{
    for (size_t size = 8; size >= 1; size /= 2)
        for (int64_t i = 0; i < dump->n; i++) {
            const entry *e = &dump->entries[i];
            const vlm_st_decl decl = {e->name, e->dtype, e->rank, e->dims};
            if (vlm_st_dtype_size(e->dtype) != size) continue;
            VLM_TRY(writing ? vlm_st_writer_put(writer, e->name, e->data, e->bytes, error)
                            : vlm_st_writer_declare(writer, &decl, error));
        }
    return VLMOE_OK;
}

vlmoe_status vlm_dump_close(vlm_dump *dump, vlmoe_trainer *t, const vlmoe_step_report *report,
                            vlmoe_error *error)
{
    vlm_st_writer *writer = NULL;
    if (!dump) return VLMOE_OK;
    vlmoe_status st = vlm_st_writer_create(dump->path, &writer, error);
    if (!st) st = write_metadata(writer, t, report, error);
    if (!st) st = put_entries(dump, writer, false, error);
    if (!st) st = put_entries(dump, writer, true, error);
    if (!st) st = vlm_st_writer_close(writer, error);
    else vlm_st_writer_abandon(writer);
    vlm_dump_abandon(dump);
    return st;
}
