/* One block that grows to what a picture needs. What does not fit yet, or is too large to be kept
 * for good, lies in blocks of its own until the next reset. */
#include "data_workspace.h"

/* A thread that once met a picture of 60 megapixels should not hold its memory for ever. */
enum { KEPT_MAX = 64 << 20 };

typedef struct extra {
    struct extra *next;
} extra;

struct vlm_workspace {
    char *block;
    size_t capacity, used;
    size_t wanted; /* since the last reset, had everything fitted */
    extra *extras;
    vlm_workspace_slot decoder;
};

enum { EXTRA_HEAD = 64 }; /* keeps what follows aligned */

vlmoe_status vlm_workspace_create(vlm_workspace **out, vlmoe_error *error)
{
    vlm_workspace *workspace = vlm_alloc(sizeof *workspace);
    if (!workspace) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a workspace of pictures");
    *out = workspace;
    return VLMOE_OK;
}

static void free_extras(vlm_workspace *workspace)
{
    while (workspace->extras) {
        extra *next = workspace->extras->next;
        vlm_free(workspace->extras);
        workspace->extras = next;
    }
}

void vlm_workspace_destroy(vlm_workspace *workspace)
{
    if (!workspace) return;
    if (workspace->decoder.drop) workspace->decoder.drop(workspace->decoder.state);
    free_extras(workspace);
    vlm_free(workspace->block);
    vlm_free(workspace);
}

void *vlm_workspace_take(vlm_workspace *workspace, size_t n, size_t bytes)
{
    size_t size = 0;
    if (!vlm_mul_size(n, bytes, &size) || size > SIZE_MAX / 2) return NULL;
    size = vlm_round_up(size, 64);
    workspace->wanted += size;
    if (size <= workspace->capacity - workspace->used) {
        char *at = workspace->block + workspace->used;
        workspace->used += size;
        return at;
    }
    extra *more = vlm_alloc(EXTRA_HEAD + size);
    if (!more) return NULL;
    more->next = workspace->extras;
    workspace->extras = more;
    return (char *)more + EXTRA_HEAD;
}

/* Half as much again as was wanted: pictures differ, and growing should end soon. */
static void grow(vlm_workspace *workspace)
{
    size_t capacity = VLM_MIN(workspace->wanted + workspace->wanted / 2, (size_t)KEPT_MAX);
    char *block = vlm_alloc(capacity);
    if (!block) return; /* it goes on with extras */
    vlm_free(workspace->block);
    workspace->block = block;
    workspace->capacity = capacity;
}

void vlm_workspace_reset(vlm_workspace *workspace)
{
    free_extras(workspace);
#ifndef VLM_CHECKS /* with sanitizers each piece stays a block of its own, whose ends are watched */
    if (workspace->wanted > workspace->capacity && workspace->capacity < KEPT_MAX) grow(workspace);
#else
    (void)grow;
#endif
    workspace->used = workspace->wanted = 0;
}

vlm_workspace_slot *vlm_workspace_decoder(vlm_workspace *workspace)
{
    return &workspace->decoder;
}
