/* vlmoe-inspect: arguments and exit codes; the views are cli_inspect_*.c's. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "cli_common.h"
#include "cli_inspect.h"
#include "cli_report.h"

static const char tool[] = "vlmoe-inspect";

static const char usage[] =
    "usage: vlmoe-inspect PATH [options]\n"
    "\n"
    "Look into a checkpoint, a run's folder (its newest checkpoint) or a safetensors file.\n"
    "  without options    a checkpoint: files and checksums, origin, parameters by group;\n"
    "                     a file: its tensors\n"
    "  --tensors          every tensor with mean, deviation, range and count of NaNs\n"
    "  --config           the config that a checkpoint or a step dump holds\n"
    "  --routing          load of every expert, drops and entropy over held-out data\n"
    "    --data FILE      config that names the held-out data [config.json of the run]\n"
    "    --limit N        held-out samples of each stream [all]\n"
    "    section.key=value ...   e.g. moe.capacity_factor_eval=1.05 to see what would be dropped\n"
    "  --report           a page of the run: curves, examples, experts on pictures and words\n"
    "    --out FILE       where it goes [PATH/report.html]\n"
    "    --data FILE, --limit N, settings: as above; N [data.val_samples]\n"
    "  --best             of a run's folder the best checkpoint by held-out loss\n"
    "\n"
    "Exit codes: 0 done, 2 arguments or config, 3 a damaged or wrong file, 4 file system,\n"
    "5 memory, 8 anything else.\n";

typedef struct options {
    vlm_cli_model_options model;
    bool tensors, config, routing, report;
    const char *out;
} options;

static int inspect_file(const char *path, const options *o)
{
    if (o->routing || o->report)
        return vlm_cli_usage(tool, "--%s needs a checkpoint, not a file",
                             o->routing ? "routing" : "report");
    return o->config ? vlm_cli_inspect_config(tool, path)
                     : vlm_cli_inspect_file(tool, path, o->tensors);
}

/* A run without a checkpoint still has its curves. */
static int make_report(const char *path, const options *o)
{
    vlm_cli_page_options page = {.model = o->model};
    vlmoe_error error = {VLMOE_OK, ""}, none = {VLMOE_OK, ""};
    char *checkpoint = NULL, *metrics = vlm_path_join(path, "metrics.jsonl");
    bool is_run = metrics && vlm_path_exists(metrics);
    vlmoe_status st = vlm_cli_checkpoint_find(path, o->model.best, &checkpoint, &none);
    if (st && (!is_run || o->model.best)) st = vlm_fail(&error, st, "%s", none.text);
    else st = VLMOE_OK;
    char *run = is_run || !checkpoint ? vlm_strdup(path) : vlm_path_dir(checkpoint);
    char *out = o->out ? vlm_strdup(o->out) : vlm_cli_page_path(path);
    if (!st && (!metrics || !run || !out)) st = vlm_fail(&error, VLMOE_E_NOMEM, "out of memory");
    page.run = run;
    page.out = out;
    page.model.checkpoint = checkpoint;
    page.model.best = false;
    if (!st) st = vlm_cli_page_make(tool, &page, &error);
    if (!st) printf("%s\n", out);
    vlm_free(checkpoint);
    vlm_free(metrics);
    vlm_free(run);
    vlm_free(out);
    return st ? vlm_cli_report(tool, &error) : CLI_OK;
}

static int inspect_folder(const char *path, options *o)
{
    char *checkpoint = NULL;
    vlmoe_error error = {VLMOE_OK, ""};
    if (o->report) return make_report(path, o);
    if (vlm_cli_checkpoint_find(path, o->model.best, &checkpoint, &error))
        return vlm_cli_report(tool, &error);
    o->model.checkpoint = checkpoint;
    o->model.best = false;
    int code = o->routing   ? vlm_cli_inspect_routing(tool, &o->model)
               : o->tensors ? vlm_cli_inspect_tensors(tool, checkpoint)
               : o->config  ? vlm_cli_inspect_config(tool, checkpoint)
                            : vlm_cli_inspect_checkpoint(tool, checkpoint);
    vlm_free(checkpoint);
    return code;
}

static const struct option long_options[] = {{"tensors", no_argument, NULL, 't'},
                                             {"config", no_argument, NULL, 'c'},
                                             {"routing", no_argument, NULL, 'r'},
                                             {"report", no_argument, NULL, 'p'},
                                             {"out", required_argument, NULL, 'o'},
                                             {"data", required_argument, NULL, 'd'},
                                             {"limit", required_argument, NULL, 'l'},
                                             {"best", no_argument, NULL, 'b'},
                                             {"help", no_argument, NULL, 'h'},
                                             {"version", no_argument, NULL, 'V'},
                                             {NULL, 0, NULL, 0}};

/* -1 = go on; else the exit code. */
static int read_option(int code, options *o)
{
    switch (code) {
    case 't':
        o->tensors = true;
        return -1;
    case 'c':
        o->config = true;
        return -1;
    case 'r':
        o->routing = true;
        return -1;
    case 'p':
        o->report = true;
        return -1;
    case 'o':
        o->out = optarg;
        return -1;
    case 'd':
        o->model.config = optarg;
        return -1;
    case 'b':
        o->model.best = true;
        return -1;
    case 'l':
        return vlm_cli_int(tool, "--limit", optarg, 1, 1000000000, &o->model.limit) ? -1
                                                                                    : CLI_USAGE;
    case 'h':
        fputs(usage, stdout);
        return vlm_cli_finish(tool, CLI_OK);
    case 'V':
        printf("%s %d.%d.%d\n", tool, VLMOE_VERSION_MAJOR, VLMOE_VERSION_MINOR,
               VLMOE_VERSION_PATCH);
        return vlm_cli_finish(tool, CLI_OK);
    default:
        return vlm_cli_usage(tool, "see the message above");
    }
}

int main(int argc, char **argv)
{
    options o = {0};
    for (int code; (code = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        int end = read_option(code, &o);
        if (end >= 0) return end;
    }
    if (optind >= argc) return vlm_cli_usage(tool, "no checkpoint, run or file is named");
    const char *path = argv[optind];
    if (o.tensors + o.config + o.routing + o.report > 1)
        return vlm_cli_usage(tool, "one of --tensors, --config, --routing and --report at a time");
    if (!o.routing && !o.report && (o.model.config || o.model.limit || optind + 1 < argc))
        return vlm_cli_usage(tool, "--data, --limit and settings go with --routing or --report");
    if (!o.report && o.out) return vlm_cli_usage(tool, "--out goes with --report");
    if (!vlm_cli_settings(tool, argc, argv, optind + 1, &o.model)) return CLI_USAGE;
    bool is_file = vlm_path_exists(path) && !vlm_path_is_dir(path);
    return vlm_cli_finish(tool, is_file ? inspect_file(path, &o) : inspect_folder(path, &o));
}
