/* vlmoe-train: arguments, signals, a progress line and exit codes. The run itself is src/train's.
 */
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base_file.h"
#include "base_json.h"
#include "cli_common.h"
#include "cli_memory.h"
#include "cli_planner.h"
#include "cli_rank_log.h"
#include "cli_report.h"
#include "cli_screen.h"
#include "cli_verify.h"
#include "train_checkpoint.h"
#include "train_launch.h"
#include "train_plan.h"
#include "train_run.h"

static const char usage[] =
    "usage: vlmoe-train --config FILE [section.key=value ...] [options]\n"
    "\n"
    "Train the model that FILE describes. Every key can be given on the command line.\n"
    "  --resume          go on from the newest checkpoint in run.out; start there if there is "
    "none\n"
    "  --force KEY       with --resume: accept that this number key differs from the checkpoint's "
    "(repeatable)\n"
    "  --dry-run         print parameters, memory and work of the config; nothing is read or "
    "written\n"
    "  --memory          at the end, print what was held at most, as --dry-run plans it, and what "
    "was "
    "sent\n"
    "  --plan            print memory, traffic and time on several ranks; nothing is read or "
    "written\n"
    "    --ranks N[,M..] how many [1]\n"
    "    --machine FILE  on this machine [the present one, measured now]; configs/machines/\n"
    "    --skew X        rows of the busiest rank over the mean [1]\n"
    "  --calibrate FILE  measure the present machine with this config's widths, for --machine\n"
    "  --verify[=STEPS]  a few steps [3] on this run's ranks and on one rank alone, nothing is "
    "written:\n"
    "                    says that they are equal, or what differs first; with --resume from the "
    "checkpoint\n"
    "  --print-config    print the resolved config and stop\n"
    "  --dump-step FILE  write the next step's inputs, choices, losses and gradients as "
    "safetensors\n"
    "  --profile[=FILE]  print where the time of some steps goes, and write a trace for\n"
    "                    chrome://tracing or Perfetto [run.out/trace.json]\n"
    "  --profile-steps A-B  which steps, as records count them [the second to fourth of this "
    "start]\n"
    "  --help-config [markdown]  every key with its default and meaning\n"
    "\n"
    "SIGINT, SIGTERM and SIGUSR1 finish the step, save and end with code 10; a second SIGINT ends "
    "at once.\n"
    "With run.ranks=R, R ranks share the groups and experts of a run as threads; under mpirun "
    "each\n"
    "process is a rank (scripts/launch). Numbers and checkpoints stay the same. A signal to any "
    "rank\n"
    "stops all; when one fails, the others end within run.deadline, and each leaves what it knew "
    "in\n"
    "run.out/rank-NN.log.\n"
    "Exit codes: 0 complete, 2 arguments or config, 3 bad input file, 4 file system, 5 memory, 6 "
    "not\n"
    "finite, 7 another rank failed or did not answer, 8 anything else, 9 --verify found a\n"
    "difference, 10 saved and stopped.\n";

enum { MAX_ARGS = 256 };
typedef struct options {
    const char *config, *dump;
    const char *trace;                   /* of the profile; NULL = run.out/trace.json */
    int64_t profile_first, profile_last; /* 0 = as vlm_profile_create chooses */
    int64_t verify_steps;                /* 0 = not asked for */
    bool resume, dry_run, print_config, profile, shows_memory, plans;
    vlm_cli_plan plan;
    const char *calibrate;
    int n_set, n_force;
    const char *set[MAX_ARGS], *force[MAX_ARGS];
} options;

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

/* ---- commands ---- */

static int print_config(const vlmoe_config *config)
{
    vlm_text text = {0};
    vlm_config_write(config, false, &text);
    if (text.data) fwrite(text.data, 1, text.bytes, stdout);
    vlm_text_free(&text);
    return vlm_cli_finish("vlmoe-train", CLI_OK);
}

static int describe_keys(bool markdown)
{
    vlm_text text = {0};
    vlm_config_describe(markdown, &text);
    if (text.data) fwrite(text.data, 1, text.bytes, stdout);
    vlm_text_free(&text);
    return vlm_cli_finish("vlmoe-train", CLI_OK);
}

static bool has_checkpoint(const char *out)
{
    char *latest = NULL;
    bool has = vlm_path_is_dir(out) && !vlm_ckpt_latest(out, &latest, NULL) && latest;
    vlm_free(latest);
    return has;
}

static vlmoe_status begin_or_resume(vlmoe_trainer *trainer, const options *o, vlmoe_error *error)
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

static vlmoe_status open_profile(const vlmoe_config *config, const options *o, vlm_profile **out,
                                 vlmoe_error *error)
{
    if (!o->profile) return VLMOE_OK;
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

static void show_profile(const options *o, const vlmoe_config *config, const vlm_profile *profile)
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
    const options *o;
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

static void show_held(const vlmoe_trainer *trainer, int64_t steps)
{
    vlm_plan held = {0};
    vlm_plan_held(trainer, &held);
    vlm_cli_show_memory(trainer->seat ? "memory held at most by rank 0" : "memory held at most",
                        &held, trainer->config);
    vlm_cli_show_peak();
    vlm_cli_show_traffic(trainer, &held, steps);
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
    VLM_TRY(vlm_trainer_create(j->config, &params, log->seat, trainer, error));
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
        show_held(*trainer, (*trainer)->step - j->screen.first_step);
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

static int train(const vlmoe_config *config, const options *o, vlm_launch *launch)
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

static int verify(const vlmoe_config *config, const options *o, vlm_launch *launch)
{
    const bool goes_on = o->resume && has_checkpoint(config->run.out);
    return vlm_cli_verify("vlmoe-train", config, launch,
                          &(vlm_cli_verify_options){.steps = o->verify_steps,
                                                    .from = goes_on ? config->run.out : NULL,
                                                    .n_force = o->n_force,
                                                    .force = o->force});
}

static int on_ranks(const vlmoe_config *config, const options *o)
{
    vlm_launch launch;
    vlmoe_error error = {VLMOE_OK, ""};
    if (vlm_launch_plan(config, &launch, &error)) return vlm_cli_report("vlmoe-train", &error);
    if (o->verify_steps && !o->dry_run) return verify(config, o, &launch);
    return o->dry_run ? dry_run(config, &launch) : train(config, o, &launch);
}

enum {
    OPT_CONFIG = 256,
    OPT_RESUME,
    OPT_FORCE,
    OPT_DRY_RUN,
    OPT_PRINT,
    OPT_MEMORY,
    OPT_PLAN,
    OPT_RANKS,
    OPT_MACHINE,
    OPT_SKEW,
    OPT_CALIBRATE,
    OPT_DUMP,
    OPT_VERIFY,
    OPT_PROFILE,
    OPT_PROFILE_STEPS,
    OPT_HELP,
    OPT_KEYS,
    OPT_VERSION
};
static const struct option long_options[] = {
    {"config", required_argument, NULL, OPT_CONFIG},
    {"resume", no_argument, NULL, OPT_RESUME},
    {"force", required_argument, NULL, OPT_FORCE},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"print-config", no_argument, NULL, OPT_PRINT},
    {"memory", no_argument, NULL, OPT_MEMORY},
    {"plan", no_argument, NULL, OPT_PLAN},
    {"ranks", required_argument, NULL, OPT_RANKS},
    {"machine", required_argument, NULL, OPT_MACHINE},
    {"skew", required_argument, NULL, OPT_SKEW},
    {"calibrate", required_argument, NULL, OPT_CALIBRATE},
    {"dump-step", required_argument, NULL, OPT_DUMP},
    {"verify", optional_argument, NULL, OPT_VERIFY},
    {"profile", optional_argument, NULL, OPT_PROFILE},
    {"profile-steps", required_argument, NULL, OPT_PROFILE_STEPS},
    {"help", no_argument, NULL, OPT_HELP},
    {"help-config", no_argument, NULL, OPT_KEYS},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0}};

/* "3-5" or "4". */
static bool read_steps(const char *text, options *o)
{
    char first[24];
    const char *dash = strchr(text, '-');
    size_t n = dash ? (size_t)(dash - text) : strlen(text);
    snprintf(first, sizeof first, "%.*s", (int)VLM_MIN(n, sizeof first - 1), text);
    const char *const tool = "vlmoe-train", *const what = "--profile-steps";
    return vlm_cli_int(tool, what, first, 1, 1000000000, &o->profile_first) &&
           vlm_cli_int(tool, what, dash ? dash + 1 : first, o->profile_first, 1000000000,
                       &o->profile_last);
}

/* Options that keep their text; NULL: code is none of them. */
static const char **text_option(int code, options *o)
{
    switch (code) {
    case OPT_CONFIG:
        return &o->config;
    case OPT_RANKS:
        return &o->plan.ranks;
    case OPT_MACHINE:
        return &o->plan.machine;
    case OPT_SKEW:
        return &o->plan.skew;
    case OPT_CALIBRATE:
        return &o->calibrate;
    case OPT_DUMP:
        return &o->dump;
    default:
        return NULL;
    }
}

/* -1 = go on; else the exit code. */
static int read_option(int code, int argc, char **argv, options *o)
{
    const char **text = text_option(code, o);
    if (text) {
        *text = optarg;
        return -1;
    }
    switch (code) {
    case OPT_PLAN:
        o->plans = true;
        return -1;
    case OPT_RESUME:
        o->resume = true;
        return -1;
    case OPT_DRY_RUN:
        o->dry_run = true;
        return -1;
    case OPT_MEMORY:
        o->shows_memory = true;
        return -1;
    case OPT_PRINT:
        o->print_config = true;
        return -1;
    case OPT_PROFILE:
        o->profile = true;
        o->trace = optarg;
        return -1;
    case OPT_VERIFY:
        o->verify_steps = 3;
        return !optarg ||
                       vlm_cli_int("vlmoe-train", "--verify", optarg, 1, 1000000, &o->verify_steps)
                   ? -1
                   : CLI_USAGE;
    case OPT_PROFILE_STEPS:
        return read_steps(optarg, o) ? -1 : CLI_USAGE;
    case OPT_FORCE:
        if (o->n_force == MAX_ARGS)
            return vlm_cli_usage("vlmoe-train", "more than %d --force", MAX_ARGS);
        o->force[o->n_force++] = optarg;
        return -1;
    case OPT_HELP:
        fputs(usage, stdout);
        return vlm_cli_finish("vlmoe-train", CLI_OK);
    case OPT_KEYS:
        return describe_keys(optind < argc && !strcmp(argv[optind], "markdown"));
    case OPT_VERSION:
        printf("vlmoe-train %d.%d.%d\n", VLMOE_VERSION_MAJOR, VLMOE_VERSION_MINOR,
               VLMOE_VERSION_PATCH);
        return vlm_cli_finish("vlmoe-train", CLI_OK);
    default:
        return vlm_cli_usage("vlmoe-train", "see the message above");
    }
}

int main(int argc, char **argv)
{
    options o = {0};
    vlmoe_config *config = NULL;
    vlmoe_error error = {VLMOE_OK, ""};
    vlm_cli_begin();
    for (int code; (code = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        int end = read_option(code, argc, argv, &o);
        if (end >= 0) return end;
    }
    for (int i = optind; i < argc; i++) {
        if (o.n_set == MAX_ARGS)
            return vlm_cli_usage("vlmoe-train", "more than %d settings", MAX_ARGS);
        o.set[o.n_set++] = argv[i];
    }
    if (!o.config) return vlm_cli_usage("vlmoe-train", "--config FILE is missing");
    if (o.profile_first && !o.profile)
        return vlm_cli_usage("vlmoe-train", "--profile-steps goes with --profile");
    if ((o.plan.ranks || o.plan.machine || o.plan.skew) && !o.plans)
        return vlm_cli_usage("vlmoe-train", "--ranks, --machine and --skew go with --plan");
    if (o.n_force && !o.resume) return vlm_cli_usage("vlmoe-train", "--force goes with --resume");
    if (vlmoe_config_load(o.config, o.n_set, o.set, &config, &error))
        return vlm_cli_report("vlmoe-train", &error);
    for (int i = 0; i < o.n_force; i++)
        if (!vlmoe_config_get(config, o.force[i])) {
            vlmoe_config_destroy(config);
            return vlm_cli_usage("vlmoe-train", "--force %s: there is no such key", o.force[i]);
        }
    int code = o.print_config ? print_config(config)
               : o.calibrate  ? vlm_cli_calibrate("vlmoe-train", config, o.calibrate)
               : o.plans      ? vlm_cli_plan_show("vlmoe-train", config, &o.plan)
                              : on_ranks(config, &o);
    vlmoe_config_destroy(config);
    return code;
}
