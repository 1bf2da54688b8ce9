/* A trainer becomes one of several: what each rank has found is compared, then its context joins the others'. */
#include <string.h>
#include "base_file.h"
#include "base_hash.h"
#include "config_task.h"
#include "train.h"

/* Of a file that may lie elsewhere on another machine; path NULL: none. */
static vlmoe_status put_file(vlm_text *facts, const char *name, const char *path,
                             vlmoe_error *error)
{
    vlm_map map = {0};
    if (path) VLM_TRY(vlm_map_open(path, &map, error));
    vlm_facts_put(facts, name, "%zu bytes, XXH3 %016llx", map.bytes,
                  (unsigned long long)(path ? vlm_hash64(map.data, map.bytes) : 0));
    vlm_map_close(&map);
    return VLMOE_OK;
}

static void put_source(vlm_text *facts, const char *name, const vlm_source *source)
{
    vlm_facts_put(facts, name, "XXH3 %016llx",
                  (unsigned long long)(source ? vlm_source_hash(source) : 0));
}

/* The checksums of a checkpoint; path NULL: none is used. */
static vlmoe_status put_checkpoint(vlm_text *facts, const char *name, const char *path,
                                   vlmoe_error *error)
{
    char *checksums = path ? vlm_path_join(path, VLM_CKPT_CHECKSUMS) : NULL;
    if (path && !checksums) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory to compare ranks");
    vlmoe_status st = put_file(facts, name, checksums, error);
    vlm_free(checksums);
    return st;
}

static vlmoe_status put_findings(vlmoe_trainer *t, const char *target, const char *init,
                                 vlm_text *facts)
{
    const vlm_cfg_run *run = &t->config->run;
    char device[128] = "";
    t->ctx->backend->describe(t->ctx->device, device, sizeof device);
    vlm_facts_put(facts, "the device", "%s", device);
    vlm_facts_put(facts, "blocks that are run again", "%lld",
                  (long long)(run->recompute ? t->config->model.layers : run->recompute_blocks));
    put_source(facts, "the shards of training data", t->train);
    put_source(facts, "the shards of held-out data", t->val);
    VLM_TRY(put_file(facts, "the file data.text_model", t->spm ? t->text_model : NULL, &t->error));
    VLM_TRY(put_checkpoint(facts, "the checksums of data.image_tokeniser", target, &t->error));
    return put_checkpoint(facts, "the checksums of task.init", init, &t->error);
}

vlmoe_status vlm_trainer_join(vlmoe_trainer *t, const char *target, const char *init)
{
    const vlmoe_config *c = t->config;
    const bool is_sparse = vlm_config_has_encoder(c);
    int64_t counts[VLM_MAX_EXPERT_COUNTS];
    int n = 0;
    vlm_text facts = {0};
    if (is_sparse && c->moe.v_layers.n) counts[n++] = c->moe.v_experts;
    if (is_sparse && c->moe.t_layers.n) counts[n++] = c->moe.t_experts;
    t->result_at = vlm_alloc_array((size_t)t->seat->size + 1, sizeof *t->result_at);
    if (!t->result_at) return vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for ranks");
    vlmoe_status st = put_findings(t, target, init, &facts);
    if (!st) st = vlm_facts_compare(t->seat, "what ranks start from", &facts, &t->error);
    vlm_text_free(&facts);
    if (st) return st;
    vlm_logf(&t->log, VLMOE_LOG_INFO, "ranks", "%d ranks, %s", t->seat->size,
             t->seat->n_here > 1 ? "threads of this process" : "a process each");
    vlm_comm_use_device(t->seat->world, t->ctx->backend, t->ctx->device);
    VLM_TRY(vlm_ranks_open(t->seat->world, c->run.groups, n, counts, &t->ranks, &t->error));
    st = vlm_ctx_join(t->ctx, &t->ranks);
    return st ? vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx)) : VLMOE_OK;
}
