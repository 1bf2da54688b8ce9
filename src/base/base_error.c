/* Filling a caller's vlmoe_error, and the log that may be silent. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base.h"

vlmoe_status vlm_fail(vlmoe_error *error, vlmoe_status status, const char *format, ...)
{
    if (!error || error->status != VLMOE_OK) return status;
    error->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return status;
}

/* As much of more as fits behind what is there. */
static void append(vlmoe_error *error, const char *more)
{
    size_t at = strlen(error->text), n = strlen(more);
    n = VLM_MIN(n, sizeof error->text - 1 - at);
    memcpy(error->text + at, more, n);
    error->text[at + n] = '\0';
}

vlmoe_status vlm_fail_in(vlmoe_error *error, const char *format, ...)
{
    if (!error) return VLMOE_E_INTERNAL;
    char old[VLMOE_ERROR_TEXT];
    memcpy(old, error->text, sizeof old);
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    append(error, ": ");
    append(error, old);
    return error->status;
}

vlmoe_status vlm_fail_errno(vlmoe_error *error, const char *verb, const char *path)
{
    int number = errno;
    char reason[128];
    if (strerror_r(number, reason, sizeof reason) != 0)
        snprintf(reason, sizeof reason, "system error %d", number);
    return vlm_fail(error, number == ENOMEM ? VLMOE_E_NOMEM : VLMOE_E_IO, "cannot %s %s: %s", verb,
                    path, reason);
}

#ifdef VLM_CHECKS
void vlm_assert_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: this must hold: %s\n", file, line, what);
    abort();
}
#endif

void vlm_logf(const vlm_log *log, int level, const char *area, const char *format, ...)
{
    if (!log || !log->fn) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    log->fn(log->user, level, area, text);
}
