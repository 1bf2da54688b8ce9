/* Which of the compiled tables this machine can run. Asks the processor, never the environment. */
#include <string.h>
#include "cpu.h"

extern const vlmk_table vlmk_cpu_base_table;
#if defined(VLMK_CPU_X86)
extern const vlmk_table vlmk_cpu_avx2_table;
extern const vlmk_table vlmk_cpu_avx512_table;
extern const vlmk_table vlmk_cpu_avx512_bf16_table;

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}
static int has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
static int has_avx512_bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512vnni") &&
           __builtin_cpu_supports("avx512bf16");
}
#endif

static int has_base(void)
{
    return 1;
}

/* Best last. */
static const struct {
    const char *isa;
    const vlmk_table *table;
    int (*runs_here)(void);
} sets[] = {
    {"base", &vlmk_cpu_base_table, has_base},
#if defined(VLMK_CPU_X86)
    {"avx2", &vlmk_cpu_avx2_table, has_avx2},
    {"avx512", &vlmk_cpu_avx512_table, has_avx512},
    {"avx512_bf16", &vlmk_cpu_avx512_bf16_table, has_avx512_bf16},
#endif
};
enum { N_SETS = (int)(sizeof sets / sizeof sets[0]) };

const vlmk_table *vlmk_cpu_named(const char *isa)
{
    for (int i = 0; i < N_SETS; i++)
        if (strcmp(sets[i].isa, isa) == 0) return sets[i].runs_here() ? sets[i].table : NULL;
    return NULL;
}

const vlmk_table *vlmk_cpu_select(const char **isa_name)
{
    int best = N_SETS - 1;
    while (best > 0 && !sets[best].runs_here()) best--;
    if (isa_name) *isa_name = sets[best].isa;
    return sets[best].table;
}
