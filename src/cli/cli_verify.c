/* A layout of ranks against one rank: what is said of it, and exit codes. */
#include "cli_verify.h"
#include <stdio.h>
#include "cli_common.h"
#include "cli_screen.h"
#include "train_verify.h"

typedef struct job {
    const vlmoe_config *config;
    const vlm_cli_verify_options *options;
    vlm_verify_result result; /* of the rank of this process that comes first */
} job;

static void say(void *user, const char *line)
{
    (void)user;
    printf("%s\n", line);
    fflush(stdout);
}

static vlmoe_status verify_rank(void *arg, vlm_seat *seat, vlmoe_error *error)
{
    job *j = arg;
    vlm_screen screen = {.config = j->config}; /* for warnings alone */
    vlmoe_trainer_params trainer = VLMOE_TRAINER_PARAMS;
    vlm_verify_result result;
    const vlm_verify_params params = {.steps = j->options->steps,
                                      .from = j->options->from,
                                      .n_force = j->options->n_force,
                                      .force = j->options->force,
                                      .say = say};
    if (!seat)
        return vlm_fail(error, VLMOE_E_ARG,
                        "--verify compares several ranks with one: set run.ranks, or start it "
                        "under mpirun");
    if (!seat->rank) {
        trainer.log_fn = vlm_screen_log;
        trainer.log_user = &screen;
    }
    VLM_TRY(vlm_verify(j->config, &trainer, seat, &params, &result, error));
    if (!seat->rank) say(NULL, result.text);
    if (!seat->rank || seat->n_here == 1) j->result = result;
    return VLMOE_OK;
}

int vlm_cli_verify(const char *tool, const vlmoe_config *config, vlm_launch *launch,
                   const vlm_cli_verify_options *options)
{
    job j = {.config = config, .options = options};
    vlmoe_error error = {VLMOE_OK, ""};
    vlmoe_status st = vlm_launch_run(launch, config, verify_rank, &j, &error);
    if (st && launch->speaks) vlm_cli_report(tool, &error);
    if (st) return st == VLMOE_E_STATE ? CLI_USAGE : vlm_cli_exit_code(st);
    return vlm_cli_finish(tool, j.result.differs ? CLI_DIFFERS : CLI_OK);
}
