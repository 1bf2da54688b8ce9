/* What every layer of src/ may use: errors, memory arithmetic, strings. One include for all of src/base's small things. */
#ifndef VLM_BASE_H
#define VLM_BASE_H

#include <stdbool.h>
#include <stdint.h>
#include "vlmoe/base.h"

/* Record the FIRST failure in error (NULL allowed) and return status. Later calls keep the first text. */
vlmoe_status vlm_fail(vlmoe_error *error, vlmoe_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Put "where: " in front of a text that is already there, e.g. the file a lower layer did not know. Returns error->status. */
vlmoe_status vlm_fail_in(vlmoe_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Like vlm_fail with VLMOE_E_IO, or NOMEM where errno says so, and the text of errno: "cannot VERB PATH: No such file or directory". */
vlmoe_status vlm_fail_errno(vlmoe_error *error, const char *verb, const char *path);

#define VLM_TRY(call)                                \
    do {                                             \
        vlmoe_status vlm_try_status = (call);        \
        if (vlm_try_status) return vlm_try_status;   \
    } while (0)

/* For what we guarantee to ourselves: unreachable from any argument or file. Fuzzers run with it on. */
#ifdef VLM_CHECKS
void vlm_assert_failed(const char *file, int line, const char *what) __attribute__((noreturn));
#define VLM_ASSERT(what) ((what) ? (void)0 : vlm_assert_failed(__FILE__, __LINE__, #what))
#else
#define VLM_ASSERT(what) ((void)0)
#endif

#define VLM_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define VLM_MIN(a, b) ((a) < (b) ? (a) : (b))
#define VLM_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Products that may come from a file or a config. false = overflow, *out untouched. Operands >= 0. */
bool vlm_mul_i64(int64_t a, int64_t b, int64_t *out);
bool vlm_mul_size(size_t a, size_t b, size_t *out);
size_t vlm_round_up(size_t n, size_t multiple); /* multiple is a power of two */

void *vlm_alloc(size_t bytes);             /* zeroed, 64-byte aligned (256 from 4 KiB up); NULL when out of memory; 0 bytes gives a block */
void *vlm_alloc_array(size_t n, size_t s); /* the same, product checked */
void vlm_free(void *ptr);                  /* NULL allowed */
char *vlm_strdup(const char *text);        /* NULL when out of memory */
char *vlm_format(const char *format, ...) __attribute__((format(printf, 1, 2))); /* caller frees with vlm_free */

/* Edits (insert, delete, replace, swap neighbours) between two words; for "did you mean". */
int vlm_edit_distance(const char *a, const char *b);

/* A log that may be silent. Copied by value; fn NULL = no log. */
typedef struct vlm_log {
    vlmoe_log_fn fn;
    void *user;
} vlm_log;
void vlm_logf(const vlm_log *log, int level, const char *area, const char *format, ...) __attribute__((format(printf, 4, 5)));

double vlm_now(void); /* seconds on a monotonic clock; execution only, never in a number of a run */

#endif
