/* vlmoe-train: arguments and what they ask for. Its runs are cli_train.c's. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "base_json.h"
#include "cli_common.h"
#include "cli_planner.h"
#include "cli_train.h"

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
    "  --json FILE       with --plan or --memory: the same numbers, whole, into a file\n"
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

typedef struct options {
    const char *config;
    bool print_config, plans;
    vlm_cli_plan plan;
    const char *calibrate;
    vlm_cli_train_options run;
    int n_set;
    const char *set[VLM_CLI_MOST_ARGS];
} options;

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
    OPT_JSON,
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
    {"json", required_argument, NULL, OPT_JSON},
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
    return vlm_cli_int(tool, what, first, 1, 1000000000, &o->run.profile_first) &&
           vlm_cli_int(tool, what, dash ? dash + 1 : first, o->run.profile_first, 1000000000,
                       &o->run.profile_last);
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
    case OPT_JSON:
        return &o->plan.json;
    case OPT_CALIBRATE:
        return &o->calibrate;
    case OPT_DUMP:
        return &o->run.dump;
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
        o->run.resume = true;
        return -1;
    case OPT_DRY_RUN:
        o->run.dry_run = true;
        return -1;
    case OPT_MEMORY:
        o->run.shows_memory = true;
        return -1;
    case OPT_PRINT:
        o->print_config = true;
        return -1;
    case OPT_PROFILE:
        o->run.profiles = true;
        o->run.trace = optarg;
        return -1;
    case OPT_VERIFY:
        o->run.verify_steps = 3;
        return !optarg || vlm_cli_int("vlmoe-train", "--verify", optarg, 1, 1000000,
                                      &o->run.verify_steps)
                   ? -1
                   : CLI_USAGE;
    case OPT_PROFILE_STEPS:
        return read_steps(optarg, o) ? -1 : CLI_USAGE;
    case OPT_FORCE:
        if (o->run.n_force == VLM_CLI_MOST_ARGS)
            return vlm_cli_usage("vlmoe-train", "more than %d --force", VLM_CLI_MOST_ARGS);
        o->run.force[o->run.n_force++] = optarg;
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
        if (o.n_set == VLM_CLI_MOST_ARGS)
            return vlm_cli_usage("vlmoe-train", "more than %d settings", VLM_CLI_MOST_ARGS);
        o.set[o.n_set++] = argv[i];
    }
    if (!o.config) return vlm_cli_usage("vlmoe-train", "--config FILE is missing");
    if (o.run.profile_first && !o.run.profiles)
        return vlm_cli_usage("vlmoe-train", "--profile-steps goes with --profile");
    if (o.plan.json && !o.plans && !o.run.shows_memory)
        return vlm_cli_usage("vlmoe-train", "--json goes with --plan or --memory");
    o.run.json = o.plan.json;
    if ((o.plan.ranks || o.plan.machine || o.plan.skew) && !o.plans)
        return vlm_cli_usage("vlmoe-train", "--ranks, --machine and --skew go with --plan");
    if (o.run.n_force && !o.run.resume)
        return vlm_cli_usage("vlmoe-train", "--force goes with --resume");
    if (vlmoe_config_load(o.config, o.n_set, o.set, &config, &error))
        return vlm_cli_report("vlmoe-train", &error);
    for (int i = 0; i < o.run.n_force; i++)
        if (!vlmoe_config_get(config, o.run.force[i])) {
            vlmoe_config_destroy(config);
            return vlm_cli_usage("vlmoe-train", "--force %s: there is no such key", o.run.force[i]);
        }
    int code = o.print_config ? print_config(config)
               : o.calibrate  ? vlm_cli_calibrate("vlmoe-train", config, o.calibrate)
               : o.plans      ? vlm_cli_plan_show("vlmoe-train", config, &o.plan)
                              : vlm_cli_train(config, &o.run);
    vlmoe_config_destroy(config);
    return code;
}
