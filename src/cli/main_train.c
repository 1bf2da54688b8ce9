/* vlmoe-train: arguments, signals, a progress line and exit codes. The run itself is src/train's.
 */
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base_file.h"
#include "base_json.h"
#include "cli_common.h"
#include "cli_memory.h"
#include "cli_planner.h"
#include "cli_report.h"
#include "train_checkpoint.h"
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
    "  --memory          at the end, print what was held at most, as --dry-run plans it\n"
    "  --plan            print memory, traffic and time on several ranks; nothing is read or "
    "written\n"
    "    --ranks N[,M..] how many [1]\n"
    "    --machine FILE  on this machine [the present one, measured now]; configs/machines/\n"
    "    --skew X        rows of the busiest rank over the mean [1]\n"
    "  --calibrate FILE  measure the present machine with this config's widths, for --machine\n"
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
    "Exit codes: 0 complete, 2 arguments or config, 3 bad input file, 4 file system, 5 memory, 6 "
    "not finite, 10 saved and stopped.\n";

enum { MAX_ARGS = 256 };
typedef struct options {
    const char *config, *dump;
    const char *trace;                   /* of the profile; NULL = run.out/trace.json */
    int64_t profile_first, profile_last; /* 0 = as vlm_profile_create chooses */
    bool resume, dry_run, print_config, profile, shows_memory, plans;
    vlm_cli_plan plan;
    const char *calibrate;
    int n_set, n_force;
    const char *set[MAX_ARGS], *force[MAX_ARGS];
} options;

static volatile sig_atomic_t stop_requested;

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

/* ---- the screen ---- */

typedef struct screen {
    bool is_terminal;
    const vlmoe_config *config;
    double begin, step_seconds; /* moving mean */
    int64_t first_step;
    bool has_line;
    vlm_text line; /* of a step; kept, so that later steps ask for no memory */
} screen;

static void put_duration(vlm_text *line, double seconds)
{
    long t = (long)(seconds + 0.5);
    if (t >= 3600) vlm_text_put(line, "%ld h %02ld min", t / 3600, t / 60 % 60);
    else if (t >= 60) vlm_text_put(line, "%ld min %02ld s", t / 60, t % 60);
    else vlm_text_put(line, "%ld s", t);
}

static void put_losses(vlm_text *line, const vlmoe_step_report *r)
{
    vlm_text_put(line, "loss %.3f", r->loss);
    for (int i = 0; i < VLMOE_N_PARTS; i++)
        if (!isnan(r->part_loss[i]))
            vlm_text_put(line, "  %s %.3f (%.0f %%)", vlm_part_names[i], r->part_loss[i],
                         100.0 * r->part_right[i]);
    if (!isnan(r->reconstruction))
        vlm_text_put(line, "  reconstruction %.4f  commitment %.4f  codes used %.0f %%",
                     r->reconstruction, r->commitment, 100.0 * r->code_usage);
}

static void end_line(screen *s)
{
    if (s->has_line) printf("\n");
    s->has_line = false;
}

/* Columns of the terminal; a line that wraps could not be drawn over. */
static int columns(void)
{
    struct winsize size = {0};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_col < 20 ? 80 : size.ws_col;
}

/* On a terminal one line that is drawn over, cut at its width; elsewhere whole lines. */
static void draw(screen *s, const vlm_text *line)
{
    if (!line->data) return;
    if (s->is_terminal) printf("\r\033[K%.*s", columns() - 1, line->data);
    else printf("%s\n", line->data);
    s->has_line = s->is_terminal;
    fflush(stdout);
}

static void show_train(screen *s, const vlmoe_step_report *r)
{
    const vlm_cfg_run *run = &s->config->run;
    vlm_text *line = &s->line;
    s->step_seconds = s->step_seconds > 0 ? 0.9 * s->step_seconds + 0.1 * r->seconds : r->seconds;
    bool is_due =
        r->step % run->log_every == 0 || r->step == run->steps || r->step == s->first_step + 1;
    if (!s->is_terminal && !is_due) return;
    vlm_text_clear(line, 512);
    vlm_text_put(line, "step %lld/%lld  ", (long long)r->step, (long long)run->steps);
    put_duration(line, (double)(run->steps - r->step) * s->step_seconds);
    vlm_text_put(line, " left  %.0f samples/s  ", (double)r->samples / s->step_seconds);
    put_losses(line, r);
    vlm_text_put(line, "  norm %.2f", r->grad_norm);
    if (s->config->moe.v_layers.n + s->config->moe.t_layers.n && isnan(r->reconstruction))
        vlm_text_put(line, "  dropped %.1f %%", 100.0 * r->dropped);
    draw(s, line);
}

static void show(void *user, const char *kind, const vlmoe_step_report *r, const vlm_tally *tally)
{
    screen *s = user;
    (void)tally;
    if (!strcmp(kind, "train")) {
        show_train(s, r);
        return;
    }
    vlm_text line = {0};
    end_line(s);
    put_losses(&line, r);
    printf("held out after step %lld: %s\n", (long long)r->step, line.data ? line.data : "");
    fflush(stdout);
    vlm_text_free(&line);
}

static void show_saved(void *user, const char *folder)
{
    end_line(user);
    printf("saved %s\n", folder);
    fflush(stdout);
}

static bool should_stop(void *user)
{
    (void)user;
    return stop_requested != 0;
}

static void log_line(void *user, int level, const char *area, const char *text)
{
    static const char *const names[] = {"error", "warning", "note", "debug"};
    end_line(user);
    fprintf(stderr, "%s: %s: %s\n", names[level], area, text);
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
                       ? vlm_format("Stopped on signal %d; can be resumed.", (int)stop_requested)
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

static int train(const vlmoe_config *config, const options *o)
{
    screen s = {.is_terminal = isatty(STDOUT_FILENO), .config = config, .begin = vlm_now()};
    vlmoe_trainer_params params = VLMOE_TRAINER_PARAMS;
    vlm_run_hooks hooks = {should_stop, show, show_saved, &s, NULL};
    vlmoe_trainer *trainer = NULL;
    vlmoe_error error = {VLMOE_OK, ""};
    vlm_run_end end = VLM_RUN_COMPLETE;
    bool has_run = false;
    params.log_fn = log_line;
    params.log_user = &s;
    vlmoe_status st = open_profile(config, o, &hooks.profile, &error);
    if (!st) st = vlmoe_trainer_create(config, &params, &trainer, &error);
    if (!st) st = begin_or_resume(trainer, o, &error);
    if (!st) {
        s.first_step = trainer->step;
        catch_signals();
        has_run = true;
        st = vlm_run(trainer, &hooks, o->dump, &end, &error);
    }
    end_line(&s);
    vlm_text_free(&s.line);
    if (!st && o->shows_memory) {
        vlm_plan held = {0};
        vlm_plan_held(trainer, &held);
        vlm_cli_show_memory("memory held at most", &held, trainer->config);
        vlm_cli_show_peak();
    }
    show_profile(o, config, hooks.profile);
    vlm_profile_destroy(hooks.profile);
    vlmoe_trainer_destroy(trainer);
    if (has_run) write_report(config, st, end, &error);
    if (st)
        return error.status == VLMOE_E_STATE ? (vlm_cli_report("vlmoe-train", &error), CLI_USAGE)
                                             : vlm_cli_report("vlmoe-train", &error);
    if (end == VLM_RUN_STOPPED)
        printf("stopped on signal %d; go on with --resume\n", (int)stop_requested);
    return vlm_cli_finish("vlmoe-train", end == VLM_RUN_STOPPED ? CLI_STOPPED : CLI_OK);
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
               : o.dry_run    ? vlm_cli_dry_run("vlmoe-train", config)
               : o.calibrate  ? vlm_cli_calibrate("vlmoe-train", config, o.calibrate)
               : o.plans      ? vlm_cli_plan_show("vlmoe-train", config, &o.plan)
                              : train(config, &o);
    vlmoe_config_destroy(config);
    return code;
}
