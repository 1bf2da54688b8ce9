/* One status for all ranks. */
#include "comm.h"

/* Room for "rank 1234567: " in front of a text. */
enum { RANK_TEXT = 16 };

vlmoe_status vlm_comm_agree(vlm_comm *comm, const char *what, vlmoe_status status,
                            vlmoe_error *error)
{
    if (!comm || status == VLMOE_E_COMM || status == VLMOE_E_TIMEOUT) return status;
    vlmoe_error mine = {VLMOE_OK, ""}, found = {VLMOE_OK, ""};
    if (status && error) mine = *error;
    mine.status = status;
    vlmoe_error *all = vlm_alloc_array((size_t)vlm_comm_size(comm), sizeof *all);
    if (!all) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s", what);
    vlmoe_status st = vlm_comm_share(comm, what, &mine, sizeof mine, all, &found);
    for (int r = 0; r < vlm_comm_size(comm) && !st; r++)
        if (all[r].status)
            st = vlm_fail(&found, all[r].status, "rank %d: %.*s", r,
                          (int)sizeof found.text - RANK_TEXT, all[r].text);
    vlm_free(all);
    if (st && error) *error = found;
    return st;
}
