/* Names of devices to devices. */
#include <string.h>
#include "backend_devices.h"

const vlm_backend *vlm_backend_find(const char *name)
{
    const vlm_backend *const all[] = {&vlm_backend_cpu, &vlm_backend_meta};
    for (int i = 0; name && i < VLM_COUNT(all); i++)
        if (strcmp(all[i]->name, name) == 0) return all[i];
    return NULL;
}
