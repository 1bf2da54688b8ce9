/* The tasks: what each reads, what it is judged by, and which parameters it trains, how fast. */
#include "train_task.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"
#include "data_label.h"

enum { IMAGES, TEXTS, PAIRS };

static const vlm_task_info tasks[] = {
    {"pretrain", "held-out loss", "loss", VLM_TASK_PRETRAIN, PAIRS, 0, false, true},
    {"image_tokeniser", "held-out loss", "loss", VLM_TASK_TOKENISER, IMAGES, 0, false, true},
    {"vqa", "VQA accuracy", "accuracy", VLM_TASK_VQA, PAIRS, 3129, true, false},
    {"nlvr2", "accuracy", "accuracy", VLM_TASK_NLVR2, PAIRS, 2, true, false},
    {"retrieval", "mean of six recalls", "recall", VLM_TASK_RETRIEVAL, PAIRS, 0, true, false},
    {"classify", "top-1 accuracy", "top1", VLM_TASK_CLASSIFY, IMAGES, 1000, true, false},
    {"nli", "accuracy", "accuracy", VLM_TASK_NLI, TEXTS, 3, true, false},
};

const vlm_task_info *vlm_task_of(const vlmoe_config *config)
{
    for (int i = 0; i < VLM_COUNT(tasks); i++)
        if (!strcmp(tasks[i].name, config->run.task)) return &tasks[i];
    return &tasks[0]; /* the config's choices are these names */
}

vlmoe_status vlm_task_check(const vlmoe_config *c, vlmoe_error *error)
{
    if (c->objective.contrastive_weight > 0.0 && strcmp(c->task.negatives, "group"))
        return vlm_fail(error, VLMOE_E_UNSUPPORTED,
                        "objective.contrastive_weight with task.negatives \"%s\": in pretraining "
                        "pairs are told from those of their group",
                        c->task.negatives);
    return VLMOE_OK;
}

int64_t vlm_words_without_model(const vlmoe_config *c)
{
    const vlm_group_counts group = vlm_config_group(c);
    const bool has_words = group.texts > 0 || group.pairs > 0;
    return vlm_config_is_tuned(c) && !has_words ? VLM_MAX(1, c->model.words) : c->model.words;
}

int64_t vlm_task_examples(const vlmoe_config *c)
{
    const int64_t of_stream[] = {c->data.images_per_group, c->data.texts_per_group,
                                 c->data.pairs_per_group};
    return vlm_config_is_tuned(c) ? of_stream[vlm_task_of(c)->stream] : 0;
}

vlmoe_status vlm_task_classes(const vlmoe_config *c, int64_t *out, vlmoe_error *error)
{
    const vlm_task_info *task = vlm_task_of(c);
    const vlm_texts *const sets[] = {&c->data.images, &c->data.texts, &c->data.pairs};
    const vlm_texts *folders = sets[task->stream];
    vlm_classes classes = {0};
    *out = task->classes;
    if (!*out || !folders->n) return VLMOE_OK;
    char *path = vlm_path_join(folders->at[0], "labels.txt");
    if (!path) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a path");
    vlmoe_status st = vlm_path_exists(path) ? vlm_classes_read(path, &classes, error) : VLMOE_OK;
    vlm_free(path);
    if (!st && classes.n) *out = classes.n;
    vlm_classes_free(&classes);
    return st;
}

/* ---- parameters ---- */

static bool begins(const char *name, const char *with)
{
    return !strncmp(name, with, strlen(with));
}

/* "blocks.7.ffn_v.fc1.weight": 7, and *part at "ffn_v..."; -1: not of a block. */
static int64_t block_of(const char *name, const char **part)
{
    char *end = NULL;
    if (!begins(name, "blocks.")) return -1;
    const int64_t block = strtoll(name + strlen("blocks."), &end, 10);
    *part = end + 1;
    return block;
}

static bool is_of_modality(const char *part, const char *modality)
{
    return (begins(part, "ffn_") && begins(part + 4, modality) &&
            part[4 + strlen(modality)] == '.') ||
           (begins(part, "norm2_") && begins(part + 6, modality) &&
            part[6 + strlen(modality)] == '.');
}

static bool reads_together(const char *name)
{
    return begins(name, "head.retrieval.match.") || begins(name, "head.retrieval.pooler.");
}

/* Does a group of the task pass through this parameter? Pairs meet no v and t parts where there is a vl one. */
static bool is_met(const vlmoe_config *c, const char *name)
{
    const vlm_group_counts group = vlm_config_group(c);
    const bool is_retrieval = vlm_task_of(c)->kind == VLM_TASK_RETRIEVAL,
               contrasts = !is_retrieval || c->task.contrastive_weight > 0.0,
               matches = is_retrieval && c->task.matching_weight > 0.0;
    /* Retrieval's pairs come from its own texts and images; those apart, when not contrasted, only draw wrong ones. */
    const bool has_pairs = group.pairs > 0 || matches, has_v = group.images > 0 && contrasts,
               has_t = group.texts > 0 && contrasts;
    const char *part = "";
    const int64_t block = block_of(name, &part);
    const bool pairs_pass_v_and_t = has_pairs && block < c->model.vl_from;
    if (block >= 0 && is_of_modality(part, "v")) return has_v || pairs_pass_v_and_t;
    if (block >= 0 && is_of_modality(part, "t")) return has_t || pairs_pass_v_and_t;
    if (block >= 0 && is_of_modality(part, "vl")) return has_pairs;
    if (reads_together(name)) return matches;
    if (begins(name, "head.retrieval.")) return contrasts;
    if (!strcmp(name, "image_mask")) return false; /* nothing is hidden */
    if (begins(name, "image_") || begins(name, "patch.")) return has_v || has_pairs;
    if (begins(name, "word_embedding.") || begins(name, "text_position")) return has_t || has_pairs;
    return true;
}

static double rate_of(const vlmoe_config *c, const char *name)
{
    const char *part = "";
    const int64_t last = c->model.layers + 1, block = block_of(name, &part);
    const bool is_head = begins(name, "head.");
    const int64_t id = block >= 0 ? block + 1 : is_head || begins(name, "norm.") ? last : 0;
    return pow(c->task.layer_decay, (double)(last - id)) * (is_head ? c->task.head_lr : 1.0);
}

static void freeze(vlm_param *param)
{
    param->trained = false;
    param->tensor.wants_grad = false;
}

void vlm_task_set_params(const vlmoe_config *c, vlmoe_context *ctx)
{
    if (vlm_task_of(c)->is_tuned && c->task.freeze_moe && !c->task.init[0])
        vlm_logf(&ctx->log, VLMOE_LOG_WARN, "transfer",
                 "task.init is empty and task.freeze_moe true: routers and experts stay random");
    for (int64_t i = 0; i < ctx->n_params; i++) {
        vlm_param *param = ctx->params[i];
        if (!vlm_task_of(c)->is_tuned) {
            if (reads_together(param->name)) freeze(param); /* that is retrieval's */
            continue;
        }
        const bool is_sparse = param->n_experts > 0 || param->role == VLM_ROLE_ROUTER;
        if ((is_sparse && c->task.freeze_moe) || !is_met(c, param->name)) freeze(param);
        param->lr_scale = rate_of(c, param->name);
    }
}
