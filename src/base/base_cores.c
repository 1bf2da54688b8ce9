/* How many cores this process may use: the affinity mask, and the processor quota of its control
 * group (cgroup v2). */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base_cores.h"
#include "base_file.h"
#include "base_team.h"

enum { MAX_CORES = 65536, MAX_TEXT = 65536 };

static int cores_by_affinity(void)
{
    for (int n = 1024; n <= MAX_CORES; n *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)n);
        if (!set) break;
        size_t bytes = CPU_ALLOC_SIZE((size_t)n);
        int refused =
            sched_getaffinity(0, bytes, set); /* the machine has more cores than the mask */
        int count = refused ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0) return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

int vlm_cores_from_quota(const char *text, int cores)
{
    long long quota, period;
    if (sscanf(text, "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0)
        return cores;                                  /* "max 100000" */
    long long allowed = (quota + period - 1) / period; /* part of a core still wants a thread */
    return allowed < cores ? (int)allowed : cores;
}

/* Apply DIR/cpu.max of the group and of every group above it. */
static int cores_by_group(char *group, int cores)
{
    for (;;) {
        char *path = vlm_format("/sys/fs/cgroup%s/cpu.max", group);
        char *text = NULL;
        size_t bytes;
        if (path && vlm_file_read(path, MAX_TEXT, &text, &bytes, NULL) == VLMOE_OK)
            cores = vlm_cores_from_quota(text, cores);
        vlm_free(path);
        vlm_free(text);
        char *slash = strrchr(group, '/');
        if (!slash) return cores;
        *slash = '\0';
    }
}

int vlm_cores_allowed(void)
{
    int cores = cores_by_affinity();
    char *text = NULL;
    size_t bytes;
    if (vlm_file_read("/proc/self/cgroup", MAX_TEXT, &text, &bytes, NULL) != VLMOE_OK) return cores;
    char *group = strstr(text, "0::/"); /* the one line of version 2 */
    if (group) {
        group += 3;
        group[strcspn(group, "\n")] = '\0';
        size_t n = strlen(group);
        while (n && group[n - 1] == '/') group[--n] = '\0';
        cores = cores_by_group(group, cores);
    }
    vlm_free(text);
    return VLM_MAX(cores, 1);
}
