/* Between comm_desk.c (communicators, mail, failures) and comm_post.c (calls). */
#ifndef VLM_COMM_POST_H
#define VLM_COMM_POST_H

#include "comm_desk.h"

struct vlm_post {
    vlm_comm comm; /* first */
    vlm_post *next;
    vlm_desk *desk;
    uint64_t context; /* 0: the first communicator */
    int *ranks;       /* [size] in the first communicator */
    int64_t n_begun;  /* calls */
    vlm_call *spare;  /* done calls, to be used again */
};

/* Records the failure, tells all ranks, withdraws open calls. Only the first counts. */
void vlm_desk_fail(vlm_desk *desk, const vlmoe_error *why);
/* A notice to one rank. text: NULL = none. */
void vlm_desk_tell(vlm_desk *desk, int to, vlm_mail_kind kind, vlmoe_status status, const char *text);
void vlm_post_answer(vlm_desk *desk, int to); /* what this rank is at */
/* Mail of a call that has begun: into its buffer. Errors: COMM (calls do not match), those of the link. */
vlmoe_status vlm_post_take(vlm_desk *desk, const vlm_post *post, vlm_mail *mail, vlmoe_error *error);
/* Errors: COMM (a call of post waits for the sender, whose mail is of a later one). */
vlmoe_status vlm_post_overtaken(const vlm_desk *desk, const vlm_post *post, const vlm_mail *mail, vlmoe_error *error);
/* Takes the first early mail of this call out of the list; NULL: none. */
vlm_mail *vlm_desk_early(vlm_desk *desk, uint64_t context, int64_t number);
void vlm_call_free(vlm_call *call); /* to its communicator's spare ones */

#endif
