/* Names of the outcomes and the version of the library. Texts of failures are base_error.c's. */
#include "base.h"

const char *vlmoe_status_name(vlmoe_status status)
{
    switch (status) {
    case VLMOE_OK:
        return "VLMOE_OK";
    case VLMOE_E_ARG:
        return "VLMOE_E_ARG";
    case VLMOE_E_SHAPE:
        return "VLMOE_E_SHAPE";
    case VLMOE_E_DTYPE:
        return "VLMOE_E_DTYPE";
    case VLMOE_E_STATE:
        return "VLMOE_E_STATE";
    case VLMOE_E_UNSUPPORTED:
        return "VLMOE_E_UNSUPPORTED";
    case VLMOE_E_NOMEM:
        return "VLMOE_E_NOMEM";
    case VLMOE_E_IO:
        return "VLMOE_E_IO";
    case VLMOE_E_FORMAT:
        return "VLMOE_E_FORMAT";
    case VLMOE_E_VERSION:
        return "VLMOE_E_VERSION";
    case VLMOE_E_DEVICE:
        return "VLMOE_E_DEVICE";
    case VLMOE_E_COMM:
        return "VLMOE_E_COMM";
    case VLMOE_E_TIMEOUT:
        return "VLMOE_E_TIMEOUT";
    case VLMOE_E_NUMERIC:
        return "VLMOE_E_NUMERIC";
    case VLMOE_E_INTERNAL:
        return "VLMOE_E_INTERNAL";
    }
    return "VLMOE_E_?"; /* a number from a newer library */
}

uint32_t vlmoe_version(void)
{
    return (uint32_t)VLMOE_VERSION_MAJOR << 16 | (uint32_t)VLMOE_VERSION_MINOR << 8 |
           VLMOE_VERSION_PATCH;
}
