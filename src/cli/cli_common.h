/* What the command-line tools share: exit codes, messages, sub-commands, numbers in arguments. */
#ifndef VLM_CLI_COMMON_H
#define VLM_CLI_COMMON_H

#include "base_json.h"

/* Exit codes of every tool. Scripts depend on them: never renumber. */
enum {
    CLI_OK = 0,
    CLI_USAGE = 2,   /* wrong arguments or configuration          */
    CLI_FORMAT = 3,  /* an input is not what it claims to be      */
    CLI_IO = 4,      /* the system refused a file operation       */
    CLI_NOMEM = 5,   /* out of memory                             */
    CLI_NUMERIC = 6, /* a loss or gradient is not finite          */
    CLI_COMM = 7,    /* a collective failed or timed out          */
    CLI_OTHER = 8,   /* any other failure                         */
    CLI_DIFFERS = 9, /* what was to be equal is not               */
    CLI_STOPPED = 10 /* asked to stop: state was saved, not done  */
};

/* First in main: a file that reaches the process's size limit is a failed write, not a killed process.
 * vlm_cli_dispatch does it by itself. */
void vlm_cli_begin(void);

int vlm_cli_exit_code(vlmoe_status status);

/* Print "TOOL: TEXT" to standard error and return the exit code for error->status. */
int vlm_cli_report(const char *tool, const vlmoe_error *error);

/* Print "TOOL: message" and where help is to standard error; returns CLI_USAGE. */
int vlm_cli_usage(const char *tool, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Flush standard output; a failed write (full disk, closed pipe) turns CLI_OK into CLI_IO. */
int vlm_cli_finish(const char *tool, int code);

/* A text made for a file: replaced whole. Errors: NOMEM (the text is not whole), IO. */
vlmoe_status vlm_cli_write_json(const char *path, const vlm_text *json, vlmoe_error *error);

/* Files that are written when long work is done: each one's folder must be there now, and no two may be one. NULL is passed over.
 * Errors: IO, ARG. */
vlmoe_status vlm_cli_check_outputs(const char *const *path, int n, vlmoe_error *error);

/* A sub-command: argv[0] is "TOOL NAME", as messages should have it. Returns an exit code. */
typedef struct vlm_cli_command {
    const char *name;
    const char *summary; /* one line */
    int (*run)(int argc, char **argv);
} vlm_cli_command;

/* Run the command that argv[1] names; --help and --version are answered here; an unknown name is
 * met with the nearest known one. */
int vlm_cli_dispatch(const char *about, const vlm_cli_command *commands, int n_commands, int argc,
                     char **argv);

/* Whole text as a number in [low, high]; a message on standard error and false otherwise. what is
 * e.g. "--limit". */
bool vlm_cli_int(const char *tool, const char *what, const char *text, int64_t low, int64_t high,
                 int64_t *out);
bool vlm_cli_double(const char *tool, const char *what, const char *text, double low, double high,
                    double *out);

/* One more value of an option that may be given again, into list [max]; a message on standard error and false when there is no room. */
bool vlm_cli_add(const char *tool, const char *what, const char *value, const char **list, int *n,
                 int max);

#endif
