/* One rank: a desk without neighbours. */
#include "comm_desk.h"

static void self_close(vlm_desk *desk)
{
    vlm_free(desk);
}

static void self_withdraw(vlm_desk *desk, vlm_call *call)
{
    (void)desk, (void)call;
}

/* The rest is never called: there is nobody to send to, and no call stays open. */
static const vlm_link_ops self_link = {.withdraw = self_withdraw, .close = self_close};
static const vlm_comm_ops self_ops = VLM_POST_OPS("self");

vlmoe_status vlm_comm_self(const vlm_comm_params *params, vlm_comm **out, vlmoe_error *error)
{
    vlm_desk *desk = vlm_alloc(sizeof *desk);
    if (!desk) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a communicator");
    const vlmoe_status st = vlm_desk_open(desk, &self_link, &self_ops, 0, 1, params, out, error);
    if (st) vlm_free(desk);
    return st;
}
