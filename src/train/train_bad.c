/* Single numbers of a recording, and where they went wrong: a group is recorded once more, and every output looked at. */
#include "train_group.h"

vlmoe_status vlm_scalar_read(vlmoe_tape *tape, const vlmoe_tensor *scalar, double *out)
{
    const vlm_backend *backend = tape->ctx->backend;
    float narrow = 0.0f;
    if (!scalar) return tape->status ? tape->status : VLMOE_E_INTERNAL;
    if (scalar->dtype == VLMOE_F64)
        return backend->download(tape->ctx->device, out, scalar->data, sizeof *out);
    VLM_TRY(backend->download(tape->ctx->device, &narrow, scalar->data, sizeof narrow));
    *out = narrow;
    return VLMOE_OK;
}

/* Every rank has the words of its own group; those of the bad one count. All fail alike, so nobody needs to be told. */
static vlmoe_status tell_all(vlmoe_trainer *t)
{
    vlmoe_error found = t->error;
    t->error = (vlmoe_error){VLMOE_OK, ""};
    VLM_TRY(vlm_comm_broadcast(t->seat->world, "the place of a loss that is not finite",
                               t->bad_rank, true, &found, sizeof found, &t->error));
    t->error = found;
    t->seat->fails_alike = true;
    return VLMOE_E_NUMERIC;
}

vlmoe_status vlm_group_name_bad(vlmoe_trainer *t, vlmoe_mode mode, const vlm_group *group)
{
    char place[192] = "the loss itself";
    vlmoe_tape *tape = NULL;
    vlm_recording recording = {0};
    const vlm_models models = vlm_trainer_models(t);
    vlmoe_status st = vlmoe_tape_begin(t->ctx, mode, &tape);
    if (st) return vlm_fail(&t->error, st, "%s", vlmoe_context_error(t->ctx));
    vlm_tape_place(tape, t->step, group->index);
    vlm_tape_watch(tape);
    vlm_recording_make(tape, &models, t->config, group, vlm_contrast_part(t, tape->mode, group),
                       &recording);
    (void)vlm_tape_first_bad(tape, place, sizeof place);
    vlmoe_tape_end(tape);
    bool is_part = t->bad != VLM_BAD_SUM;
    vlm_fail(&t->error, VLMOE_E_NUMERIC,
             "step %lld, group %lld: the loss%s%s is not finite; first seen in %s. "
             "Parameters are unchanged since step %lld",
             (long long)t->step + 1, (long long)group->index, is_part ? " of objective " : "",
             is_part ? vlm_part_names[t->bad] : "", place, (long long)t->step);
    return t->seat ? tell_all(t) : VLMOE_E_NUMERIC;
}
