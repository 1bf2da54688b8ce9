/* The words every part of libvlmoe shares: outcomes, error text, memory functions, log.
 * Not here: anything that holds state. */
#ifndef VLMOE_BASE_H
#define VLMOE_BASE_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__) && !defined(VLMOE_STATIC)
#define VLMOE_API __attribute__((visibility("default")))
#else
#define VLMOE_API
#endif

#define VLMOE_VERSION_MAJOR 0
#define VLMOE_VERSION_MINOR 1
#define VLMOE_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/* Outcome of a call. The numbers are part of the ABI: add in the gaps, never renumber, never reuse. */
typedef enum vlmoe_status {
    VLMOE_OK = 0,
    VLMOE_E_ARG = 10,         /* an argument or a config key is out of its documented range */
    VLMOE_E_SHAPE = 11,       /* shapes do not fit each other                                */
    VLMOE_E_DTYPE = 12,       /* element types do not fit each other                         */
    VLMOE_E_STATE = 13,       /* right call, wrong moment                                    */
    VLMOE_E_UNSUPPORTED = 20, /* not in this build, or not on this device                    */
    VLMOE_E_NOMEM = 30,       /* host or device memory, or an arena, ran out                 */
    VLMOE_E_IO = 40,          /* the system refused a file operation                         */
    VLMOE_E_FORMAT = 41,      /* a file is not what it claims to be                          */
    VLMOE_E_VERSION = 42,     /* a newer format than this library reads                      */
    VLMOE_E_DEVICE = 50,      /* the accelerator runtime reported a failure                  */
    VLMOE_E_COMM = 60,        /* a collective failed, here or on a peer                      */
    VLMOE_E_TIMEOUT = 61,     /* a peer did not answer within the limit                      */
    VLMOE_E_NUMERIC = 70,     /* a loss or gradient is not finite                            */
    VLMOE_E_INTERNAL = 90     /* a bug in this library; please report the text               */
} vlmoe_status;

enum { VLMOE_ERROR_TEXT = 512 };

/* Where a failed call leaves its reason. text is always terminated, and empty after a success. */
typedef struct vlmoe_error {
    vlmoe_status status;
    char text[VLMOE_ERROR_TEXT];
} vlmoe_error;

/* Memory functions to use instead of malloc and free; user is passed back unchanged. */
typedef struct vlmoe_allocator {
    void *(*alloc)(void *user, size_t bytes, size_t align);
    void (*release)(void *user, void *ptr);
    void *user;
} vlmoe_allocator;

enum { VLMOE_LOG_ERROR = 0, VLMOE_LOG_WARN = 1, VLMOE_LOG_INFO = 2, VLMOE_LOG_DEBUG = 3 };
typedef void (*vlmoe_log_fn)(void *user, int level, const char *area, const char *text);

VLMOE_API const char *vlmoe_status_name(vlmoe_status status); /* "VLMOE_E_SHAPE"; never NULL */
VLMOE_API uint32_t vlmoe_version(void);                       /* major<<16 | minor<<8 | patch */

#ifdef __cplusplus
}
#endif
#endif
