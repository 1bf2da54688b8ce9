/* Our thread team: n workers that wait by a short spin, then sleep. No OpenMP, no thread creation after create. */
#ifndef VLM_BASE_TEAM_H
#define VLM_BASE_TEAM_H

#include "base.h"

typedef struct vlm_team vlm_team;
/* One tile of work. worker is in [0, n); a tile may run on any worker, so results must not depend on it. */
typedef void (*vlm_tile_fn)(void *arg, int64_t tile, int worker);

/* n_threads >= 1 counts the calling thread. Errors: ARG, NOMEM (also when the system refuses a thread). */
vlmoe_status vlm_team_create(int n_threads, vlm_team **out, vlmoe_error *error);
void vlm_team_destroy(vlm_team *team); /* NULL allowed; joins the workers */
int vlm_team_size(const vlm_team *team);
/* Run fn for tiles 0 .. n_tiles-1, handed out in order from a shared counter; returns when all are done. Not reentrant. */
void vlm_team_run(vlm_team *team, vlm_tile_fn fn, void *arg, int64_t n_tiles);
int vlm_cores_allowed(void); /* cores this process may use (affinity, cgroup), at least 1 */

#endif
