/* Runs of vlmoe-train: begun or gone on with on each rank, signals, the screen, the profile and the page at the end. The run itself is
 * src/train's. */
#include "cli_train.h"
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base_file.h"
#include "cli_common.h"
#include "cli_memory.h"
#include "cli_rank_log.h"
#include "cli_report.h"
#include "cli_screen.h"
#include "cli_verify.h"
#include "train_checkpoint.h"
#include "train_launch.h"
#include "train_plan.h"
#include "train_run.h"

static atomic_int
    stop_requested; /* lock-free, so a handler may write what ranks of any thread read */

static void on_signal(int signal_number)
{
    if (stop_requested && signal_number == SIGINT) _exit(130);
    stop_requested = signal_number;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

static bool should_stop(void *user)
{
    (void)user;
    return stop_requested != 0;
}

static bool has_checkpoint(const char *out)
{
    char *latest = NULL;
    bool has = vlm_path_is_dir(out) && !vlm_ckpt_latest(out, &latest, NULL) && latest;
    vlm_free(latest);
    return has;
}

static vlmoe_status begin_or_resume(vlmoe_trainer *trainer, const vlm_cli_train_options *o,
                                    vlmoe_error *error)
{
    const char *out = trainer->config->run.out;
    if (!has_checkpoint(out)) return VLMOE_OK;
    if (!o->resume)
        return vlm_fail(error, VLMOE_E_STATE,
                        "%s holds checkpoints of an earlier run: go on with --resume, or set "
                        "run.out to a new folder",
                        out);
    vlmoe_status st = vlmoe_trainer_resume(trainer, out, o->n_force, o->force);
    if (st) return vlm_fail(error, st, "%s", vlmoe_trainer_error(trainer));
    if (!trainer->seat || !trainer->seat->rank)
        printf("resumed at step %lld of %lld\n", (long long)trainer->step,
               (long long)trainer->config->run.steps);
    return VLMOE_OK;
}

static vlmoe_status open_profile(const vlmoe_config *config, const vlm_cli_train_options *o,
                                 vlm_profile **out, vlmoe_error *error)
{
    if (!o->profiles) return VLMOE_OK;
    char *path = o->trace ? vlm_strdup(o->trace) : vlm_path_join(config->run.out, "trace.json");
    char *folder = vlm_path_dir(path ? path : "");
    vlmoe_status st = VLMOE_OK;
    if (!path || !folder) st = vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a profile");
    else if (o->trace && (vlm_path_is_dir(path) ||
                          !vlm_path_is_dir(folder))) /* known now, not after the steps */
        st = vlm_fail(error, VLMOE_E_IO, "--profile=%s: that is no place for a file", path);
    if (!st) st = vlm_profile_create(o->profile_first, o->profile_last, path, out, error);
    vlm_free(path);
    vlm_free(folder);
    return st;
}

static void show_profile(const vlm_cli_train_options *o, const vlmoe_config *config,
                         const vlm_profile *profile)
{
    const char *tables = profile ? vlm_profile_tables(profile) : NULL;
    if (!profile) return;
    if (!tables) printf("no step was profiled\n");
    else if (o->trace) printf("\n%s\ntrace: %s\n", tables, o->trace);
    else printf("\n%s\ntrace: %s/trace.json\n", tables, config->run.out);
}

/* After the run, from its files: whatever goes wrong here is a warning. NUMERIC: the last good steps are worth looking at. */
static void write_report(const vlmoe_config *config, vlmoe_status st, vlm_run_end end,
                         const vlmoe_error *failure)
{
    vlm_cli_page_options page = {.run = config->run.out};
    vlmoe_error error = {VLMOE_OK, ""};
    char *latest = NULL, *out = vlm_cli_page_path(config->run.out);
    char *ending = st ? vlm_format("Failed: %s.", failure->text)
                   : end == VLM_RUN_STOPPED
                       ? vlm_format("Stopped on signal %d; can be resumed.", stop_requested)
                       : NULL;
    if (!config->run.report || (st && st != VLMOE_E_NUMERIC)) goto done;
    if (vlm_ckpt_latest(config->run.out, &latest, NULL)) latest = NULL;
    page.model.checkpoint = latest;
    page.out = out;
    page.ending = ending;
    vlmoe_status made = out ? vlm_cli_page_make("vlmoe-train", &page, &error)
                            : vlm_fail(&error, VLMOE_E_NOMEM, "out of memory for a path");
    if (made) fprintf(stderr, "warning: report: no report was written: %s\n", error.text);
    else printf("report %s\n", out);
done:
    vlm_free(latest);
    vlm_free(out);
    vlm_free(ending);
}

/* A run, as the rank of this process sees it that speaks: the only one, or rank 0. */
typedef struct job {
    const vlmoe_config *config;
    const vlm_cli_train_options *o;
    vlm_screen screen;
    vlm_profile *profile;
    vlm_run_end end;
    bool speaks, has_run;
} job;

static vlmoe_status compare_beginnings(vlm_seat *seat, const vlmoe_trainer *trainer,
                                       vlmoe_error *error)
{
    vlm_text facts = {0};
    if (!seat) return VLMOE_OK;
    vlm_facts_put(&facts, "the step of the checkpoint that was found", "%lld",
                  (long long)trainer->step);
    vlmoe_status st = vlm_facts_compare(seat, "where ranks go on from", &facts, error);
    vlm_text_free(&facts);
    return st;
}

static vlmoe_status show_held(const vlmoe_trainer *trainer, int64_t steps, const char *json,
                              vlmoe_error *error)
{
    vlm_plan held = {0};
    vlm_plan_held(trainer, &held);
    vlm_cli_show_memory(trainer->seat ? "memory held at most by rank 0" : "memory held at most",
                        &held, trainer->config);
    vlm_cli_show_peak();
    vlm_cli_show_traffic(trainer, &held, steps);
    return json ? vlm_cli_write_held(json, trainer, &held, steps, error) : VLMOE_OK;
}

static vlmoe_status run_rank(job *j, bool is_first, vlm_rank_log *log, vlmoe_trainer **trainer,
                             vlmoe_error *error)
{
    vlmoe_trainer_params params = VLMOE_TRAINER_PARAMS;
    vlm_run_hooks hooks = {.should_stop = should_stop};
    params.log_fn = vlm_rank_log_line;
    params.log_user = log;
    if (is_first) VLM_TRY(open_profile(j->config, j->o, &j->profile, error));
    if (is_first)
        hooks =
            (vlm_run_hooks){should_stop, vlm_screen_show, vlm_screen_saved, &j->screen, j->profile};
    const char *out = j->config->run.out, *from = j->o->resume && has_checkpoint(out) ? out : NULL;
    VLM_TRY(vlm_trainer_create(j->config, &params, log->seat, from, trainer, error));
    vlmoe_status st = begin_or_resume(*trainer, j->o, error);
    VLM_TRY(vlm_ranks_agree(log->seat, "resuming", st, error));
    VLM_TRY(compare_beginnings(log->seat, *trainer, error));
    if (is_first) {
        j->screen.first_step = (*trainer)->step;
        j->has_run = true;
    }
    if (is_first || log->seat->n_here == 1) catch_signals();
    vlm_run_end end = VLM_RUN_COMPLETE;
    VLM_TRY(vlm_run(*trainer, &hooks, j->o->dump, &end, error));
    if (is_first) j->end = end;
    if (is_first && j->o->shows_memory) {
        vlm_screen_end_line(&j->screen);
        VLM_TRY(show_held(*trainer, (*trainer)->step - j->screen.first_step, j->o->json, error));
    }
    return VLMOE_OK;
}

static vlmoe_status train_rank(void *arg, vlm_seat *seat, vlmoe_error *error)
{
    job *j = arg;
    const bool is_first = !seat || !seat->rank;
    vlmoe_trainer *trainer = NULL;
    vlm_rank_log log = {.seat = seat, .screen = is_first ? &j->screen : NULL};
    if (is_first) j->speaks = true;
    vlmoe_status st = run_rank(j, is_first, &log, &trainer, error);
    if (st) vlm_rank_log_write(&log, j->config, trainer, error);
    vlmoe_trainer_destroy(trainer);
    vlm_rank_log_free(&log);
    return st;
}

typedef struct dry_job {
    const vlmoe_config *config;
    const vlm_launch *launch;
    int code;
} dry_job;

/* Ranks are alike: one of them speaks. */
static vlmoe_status dry_run_rank(void *arg, vlm_seat *seat, vlmoe_error *error)
{
    dry_job *dry = arg;
    (void)error;
    dry->code = CLI_OK;
    if (!seat || !seat->rank) dry->code = vlm_cli_dry_run("vlmoe-train", dry->config, dry->launch);
    return VLMOE_OK;
}

static int dry_run(const vlmoe_config *config, vlm_launch *launch)
{
    dry_job dry = {config, launch, CLI_OTHER};
    vlmoe_error error = {VLMOE_OK, ""};
    if (!launch->is_mpi) dry_run_rank(&dry, NULL, &error);
    else if (vlm_launch_run(launch, config, dry_run_rank, &dry, &error))
        return launch->speaks ? vlm_cli_report("vlmoe-train", &error)
                              : vlm_cli_exit_code(error.status);
    return dry.code;
}

static int train(const vlmoe_config *config, const vlm_cli_train_options *o, vlm_launch *launch)
{
    job j = {.config = config, .o = o, .end = VLM_RUN_COMPLETE};
    vlmoe_error error = {VLMOE_OK, ""};
    /* mpirun gives its processes a terminal of its own, whatever its output goes to */
    j.screen = (vlm_screen){.is_terminal = !launch->is_mpi && isatty(STDOUT_FILENO),
                            .config = config,
                            .begin = vlm_now()};
    if (launch->size != 1 && o->dump)
        return vlm_cli_usage("vlmoe-train", "--dump-step is for one rank; the numbers are the "
                                            "same there");
    vlmoe_status st = vlm_launch_run(launch, config, train_rank, &j, &error);
    vlm_screen_end_line(&j.screen);
    vlm_text_free(&j.screen.line);
    show_profile(o, config, j.profile);
    vlm_profile_destroy(j.profile);
    if (j.has_run) write_report(config, st, j.end, &error);
    if (st && launch->speaks) vlm_cli_report("vlmoe-train", &error);
    if (st) return st == VLMOE_E_STATE ? CLI_USAGE : vlm_cli_exit_code(st);
    if (j.end == VLM_RUN_STOPPED && j.speaks)
        printf("stopped on signal %d%s; go on with --resume\n", stop_requested,
               stop_requested ? "" : " (another rank's)");
    return vlm_cli_finish("vlmoe-train", j.end == VLM_RUN_STOPPED ? CLI_STOPPED : CLI_OK);
}

static int verify(const vlmoe_config *config, const vlm_cli_train_options *o, vlm_launch *launch)
{
    const bool goes_on = o->resume && has_checkpoint(config->run.out);
    return vlm_cli_verify("vlmoe-train", config, launch,
                          &(vlm_cli_verify_options){.steps = o->verify_steps,
                                                    .from = goes_on ? config->run.out : NULL,
                                                    .n_force = o->n_force,
                                                    .force = o->force});
}

int vlm_cli_train(const vlmoe_config *config, const vlm_cli_train_options *o)
{
    vlm_launch launch;
    vlmoe_error error = {VLMOE_OK, ""};
    if (vlm_launch_plan(config, &launch, &error)) return vlm_cli_report("vlmoe-train", &error);
    if (o->verify_steps && !o->dry_run) return verify(config, o, &launch);
    return o->dry_run ? dry_run(config, &launch) : train(config, o, &launch);
}
