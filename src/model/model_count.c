/* How large a MoME model is: in all, and what one token meets. */
#include "model_parts.h"

static int64_t count(const vlmoe_tensor *t)
{
    return t ? vlm_count(t) : 0;
}

static int64_t count_linear(const vlm_linear_layer *layer)
{
    return count(layer->weight) + count(layer->bias);
}

static int64_t count_norm(const vlm_norm_layer *layer)
{
    return count(layer->gain) + count(layer->bias);
}

/* One token of a single-modality sequence in one block: VL feed-forwards serve pairs only. */
static int64_t count_block(const vlm_mome_block *block, int modality)
{
    int64_t n = count_norm(&block->norm1) + count_norm(&block->norm2[modality]) +
                count(block->scale1) + count(block->scale2);
    n += count(block->attention.qkv_weight) + count(block->attention.qkv_bias) +
         count_linear(&block->attention.proj);
    if (!block->is_sparse[modality])
        return n + count_linear(&block->ffn[modality].fc1) +
               count_linear(&block->ffn[modality].fc2);
    const vlm_moe_layer *moe = &block->moe[modality];
    int64_t experts = count_linear(&moe->fc1) + count_linear(&moe->fc2);
    return n + count(moe->router) + experts / moe->fc1.weight->dim[0] * moe->policy.K;
}

vlm_mome_size vlm_mome_count(const vlm_mome *model)
{
    vlm_mome_size size = {0};
    for (int64_t i = model->param_begin; i < model->param_end; i++) {
        const vlm_param *param = model->ctx->params[i];
        int64_t n = vlm_param_file_elements(param); /* of one expert, wherever it lies */
        size.total += n * vlm_param_files(param);
        size.per_token += param->n_experts ? n * model->experts_per_token : n;
    }
    for (int64_t l = 0; l < model->layers; l++) {
        size.per_vision_token += count_block(&model->blocks[l], VLM_MOD_V);
        size.per_text_token += count_block(&model->blocks[l], VLM_MOD_T);
    }
    /* Of a looked-up table (words, positions) a token meets one row. */
    int64_t shared = model->width + count_norm(&model->norm);
    size.per_vision_token += shared + count_linear(&model->patch) + count_linear(&model->code_head);
    size.per_text_token += shared + model->width + count_linear(&model->word_dense) +
                           count_norm(&model->word_norm) + count_linear(&model->word_decoder);
    return size;
}
