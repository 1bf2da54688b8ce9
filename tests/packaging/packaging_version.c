/* The smallest program that uses an installed libvlmoe: prints the library's version and ends with 1 where the headers it was
 * compiled with say another. */
#include <stdio.h>
#include "vlmoe/base.h"

int main(void)
{
    const uint32_t version = vlmoe_version();
    const uint32_t compiled =
        VLMOE_VERSION_MAJOR << 16 | VLMOE_VERSION_MINOR << 8 | VLMOE_VERSION_PATCH;
    printf("%u.%u.%u\n", version >> 16, version >> 8 & 255u, version & 255u);
    return version == compiled ? 0 : 1;
}
