/* Exit codes, messages and sub-commands of the tools. */
#include "cli_common.h"
#include "base_file.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void vlm_cli_begin(void)
{
    signal(SIGXFSZ, SIG_IGN);
}

int vlm_cli_exit_code(vlmoe_status status)
{
    switch (status) {
    case VLMOE_OK:
        return CLI_OK;
    case VLMOE_E_ARG:
        return CLI_USAGE;
    case VLMOE_E_FORMAT:
    case VLMOE_E_VERSION:
    case VLMOE_E_SHAPE: /* arguments are checked before: what has the wrong shape or type came from a file */
    case VLMOE_E_DTYPE:
        return CLI_FORMAT;
    case VLMOE_E_IO:
        return CLI_IO;
    case VLMOE_E_NOMEM:
        return CLI_NOMEM;
    case VLMOE_E_NUMERIC:
        return CLI_NUMERIC;
    case VLMOE_E_COMM:
    case VLMOE_E_TIMEOUT:
        return CLI_COMM;
    default:
        return CLI_OTHER;
    }
}

int vlm_cli_report(const char *tool, const vlmoe_error *error)
{
    fprintf(stderr, "%s: %s\n", tool, error->text[0] ? error->text : "failed without a reason");
    return vlm_cli_exit_code(error->status);
}

int vlm_cli_usage(const char *tool, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", tool);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nTry '%s --help'.\n", tool);
    va_end(args);
    return CLI_USAGE;
}

int vlm_cli_finish(const char *tool, int code)
{
    if (!fflush(stdout) && !ferror(stdout)) return code;
    fprintf(stderr, "%s: cannot write to standard output\n", tool);
    return code == CLI_OK ? CLI_IO : code;
}

static void print_commands(const char *tool, const char *about, const vlm_cli_command *commands,
                           int n)
{
    printf("%s\n\nusage: %s COMMAND [OPTION...]\n\ncommands:\n", about, tool);
    for (int i = 0; i < n; i++) printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    printf(
        "\n'%s COMMAND --help' says more. Exit codes: 0 done, 2 wrong arguments, 3 a damaged or\n"
        "wrong input, 4 a file operation was refused, 5 out of memory, 8 anything else.\n",
        tool);
}

/* The command whose name takes the fewest edits, if it is near at all. */
static const char *nearest(const vlm_cli_command *commands, int n, const char *name)
{
    const char *best = NULL;
    int best_distance = 4;
    for (int i = 0; i < n; i++) {
        int distance = vlm_edit_distance(name, commands[i].name);
        if (distance < best_distance) {
            best_distance = distance;
            best = commands[i].name;
        }
    }
    return best;
}

int vlm_cli_dispatch(const char *about, const vlm_cli_command *commands, int n_commands, int argc,
                     char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *tool = slash ? slash + 1 : argv[0];
    vlm_cli_begin();
    if (argc < 2) return vlm_cli_usage(tool, "no command");
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_commands(tool, about, commands, n_commands);
        return vlm_cli_finish(tool, CLI_OK);
    }
    if (!strcmp(name, "--version")) {
        printf("%s %d.%d.%d\n", tool, VLMOE_VERSION_MAJOR, VLMOE_VERSION_MINOR,
               VLMOE_VERSION_PATCH);
        return vlm_cli_finish(tool, CLI_OK);
    }
    for (int i = 0; i < n_commands; i++) {
        if (strcmp(name, commands[i].name)) continue;
        char full_name[128];
        snprintf(full_name, sizeof full_name, "%s %s", tool, name);
        argv[1] = full_name;
        return vlm_cli_finish(full_name, commands[i].run(argc - 1, argv + 1));
    }
    const char *near = nearest(commands, n_commands, name);
    return near ? vlm_cli_usage(tool, "no command '%s'; did you mean '%s'?", name, near)
                : vlm_cli_usage(tool, "no command '%s'", name);
}

bool vlm_cli_int(const char *tool, const char *what, const char *text, int64_t low, int64_t high,
                 int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno || value < low || value > high) {
        fprintf(stderr, "%s: %s is '%s', not a whole number in %lld..%lld\n", tool, what, text,
                (long long)low, (long long)high);
        return false;
    }
    *out = value;
    return true;
}

bool vlm_cli_double(const char *tool, const char *what, const char *text, double low, double high,
                    double *out)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < low || value > high) {
        fprintf(stderr, "%s: %s is '%s', not a number in %g..%g\n", tool, what, text, low, high);
        return false;
    }
    *out = value;
    return true;
}

vlmoe_status vlm_cli_write_json(const char *path, const vlm_text *json, vlmoe_error *error)
{
    if (json->failed) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s", path);
    return vlm_file_replace(path, json->data, json->bytes, error);
}

static vlmoe_status check_output(const char *path, vlmoe_error *error)
{
    if (vlm_path_is_dir(path))
        return vlm_fail(error, VLMOE_E_IO, "%s is a folder, not a file to write", path);
    char *folder = vlm_path_dir(path);
    if (!folder) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    vlmoe_status st = VLMOE_OK;
    if (!vlm_path_is_dir(folder))
        st = vlm_fail(error, VLMOE_E_IO, "%s cannot be written: there is no folder %s", path,
                      folder);
    else if (access(folder, W_OK)) st = vlm_fail_errno(error, "write in", folder);
    vlm_free(folder);
    return st;
}

vlmoe_status vlm_cli_check_outputs(const char *const *path, int n, vlmoe_error *error)
{
    for (int i = 0; i < n; i++) {
        struct stat there;
        const bool is_there = path[i] && !lstat(path[i], &there);
        if (!path[i] || (is_there && !S_ISREG(there.st_mode) && !S_ISDIR(there.st_mode)))
            continue; /* a device or a pipe, which is written in place */
        VLM_TRY(check_output(path[i], error));
        for (int j = 0; j < i; j++)
            if (path[j] && !strcmp(path[i], path[j]))
                return vlm_fail(error, VLMOE_E_ARG, "%s is named for two different files", path[i]);
    }
    return VLMOE_OK;
}

bool vlm_cli_add(const char *tool, const char *what, const char *value, const char **list, int *n,
                 int max)
{
    if (*n == max) {
        vlm_cli_usage(tool, "%s: more than %d of them", what, max);
        return false;
    }
    list[(*n)++] = value;
    return true;
}
