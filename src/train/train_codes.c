/* The image tokeniser's code book in a step: every rank has the same, so every rank adds what all groups chose. */
#include <string.h>
#include "train_group.h"

static vlmoe_status put_choices(vlmoe_trainer *t, const vlm_code_choices *choices)
{
    const size_t C = (size_t)t->config->tokeniser.code_dim, n = (size_t)choices->n;
    vlm_text *out = &t->result;
    vlm_text_clear(out, 0);
    vlm_text_append(out, (const char *)&choices->n, sizeof choices->n);
    vlm_text_append(out, (const char *)choices->feature, n * C * sizeof *choices->feature);
    vlm_text_append(out, (const char *)choices->code, n * sizeof *choices->code);
    if (n % 2) vlm_text_append(out, "\0\0\0", 4); /* the next rank's begin at a multiple of 8 */
    return out->failed ? vlm_fail(&t->error, VLMOE_E_NOMEM, "out of memory for choices of codes")
                       : VLMOE_OK;
}

static vlmoe_status add_all(vlmoe_trainer *t, const vlm_code_choices *mine)
{
    const size_t C = (size_t)t->config->tokeniser.code_dim;
    char *blocks = NULL;
    VLM_TRY(put_choices(t, mine));
    vlmoe_status st =
        vlm_comm_share_blocks(t->seat->world, "features and the codes they chose", t->result.data,
                              t->result.bytes, &blocks, t->result_at, &t->error);
    for (int p = 0; p < t->seat->size && !st; p++) {
        const char *block = blocks + t->result_at[p];
        vlm_code_choices its = {.feature = (const double *)(const void *)(block + sizeof its.n)};
        memcpy(&its.n, block, sizeof its.n);
        its.code = (const int32_t *)(const void *)(its.feature + (size_t)its.n * C);
        st = vlm_tokeniser_add(t->tokeniser, &its);
    }
    vlm_free(blocks);
    return st;
}

vlmoe_status vlm_codes_collect(vlmoe_trainer *t, vlmoe_tape *tape)
{
    vlm_code_choices choices;
    if (!t->seat) return vlm_tokeniser_collect(tape, t->tokeniser);
    VLM_TRY(vlm_tokeniser_fetch(tape, t->tokeniser, &choices));
    return add_all(t, &choices);
}

static vlmoe_status send_codebook(vlmoe_trainer *t)
{
    vlm_codebook_state s = {0};
    vlm_comm *world = t->seat->world;
    VLM_TRY(vlm_tokeniser_state(t->tokeniser, &s)); /* of other ranks: its memory */
    const size_t n = (size_t)s.codes * sizeof(float), C = (size_t)s.code_dim;
    static const char what[] = "first code book";
    VLM_TRY(vlm_comm_broadcast(world, what, 0, true, s.code, n * C, &t->error));
    VLM_TRY(vlm_comm_broadcast(world, what, 0, true, s.sum, n * C, &t->error));
    VLM_TRY(vlm_comm_broadcast(world, what, 0, true, s.count, n, &t->error));
    s.started = true;
    return t->seat->rank ? vlm_tokeniser_state_set(t->tokeniser, &s) : VLMOE_OK;
}

/* On the pictures of the first step's first group, which is rank 0's. */
vlmoe_status vlm_codes_start(vlmoe_trainer *t, const vlm_group *group)
{
    vlmoe_status st = VLMOE_OK;
    if (!t->seat || !t->seat->rank)
        st = vlm_tokeniser_start(t->tokeniser, group->n_images, group->pixels);
    if (!st && t->seat) st = send_codebook(t);
    return st ? vlm_fail(&t->error, st, "code book: %s", vlmoe_context_error(t->ctx)) : VLMOE_OK;
}
