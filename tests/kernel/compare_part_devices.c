/* The devices that compare tests run on: each instruction set of the CPU that this machine and this
 * build have. */
#include "compare.h"
#include "../../kernels/cpu/cpu.h"
#include "test_env.h"

static const char *const isa_names[] = {"base", "avx2", "avx512", "avx512_bf16"};
enum { MAX_DEVICES = COUNT_OF(isa_names) };

typedef struct device {
    const char *name;
    const vlmk_table *table;
    vlmk_cpu_state *state[WORKER_COUNTS];
    vlmk_env env[WORKER_COUNTS];
} device;

static device devices[MAX_DEVICES];
static int n_devices;
static vlm_team *teams[WORKER_COUNTS];
static double flops;

static void open_devices(void)
{
    if (n_devices) return;
    for (int w = 1; w < WORKER_COUNTS; w++)
        CHECK_STATUS(vlm_team_create(w + 1, &teams[w], NULL), VLMOE_OK);
    for (int i = 0; i < MAX_DEVICES; i++) {
        const vlmk_table *table = vlmk_cpu_named(isa_names[i]);
        if (!table) continue;
        device *d = &devices[n_devices++];
        d->name = isa_names[i];
        d->table = table;
        for (int w = 0; w < WORKER_COUNTS; w++) {
            d->state[w] = vlmk_cpu_state_create(w + 1);
            CHECK(d->state[w] != NULL);
            vlmk_cpu_env_init(&d->env[w], d->state[w], teams[w], w + 1,
                              w ? test_env_parallel : NULL);
            d->env[w].flops = &flops;
        }
    }
}

__attribute__((destructor)) static void close_devices(void)
{
    for (int i = 0; i < n_devices; i++)
        for (int w = 0; w < WORKER_COUNTS; w++) vlmk_cpu_state_destroy(devices[i].state[w]);
    for (int w = 0; w < WORKER_COUNTS; w++) vlm_team_destroy(teams[w]);
}

int device_count(void)
{
    open_devices();
    return n_devices;
}

const char *device_name(int index)
{
    return devices[index].name;
}

const vlmk_table *device_table(int index)
{
    return devices[index].table;
}

vlmk_env *device_env(int index, int n_workers)
{
    return &devices[index].env[n_workers - 1];
}

void device_done(vlmk_env *env)
{
    vlmk_cpu_call_done(env);
}

double device_flops(void)
{
    double counted = flops;
    flops = 0.0;
    return counted;
}

TEST(compare_has_a_device_and_prefers_one_of_its_list)
{
    const char *best = NULL;
    const vlmk_table *table = vlmk_cpu_select(&best);
    CHECK(device_count() >= 1);
    CHECK(table != NULL && table == vlmk_cpu_named(best));
    CHECK(vlmk_cpu_named("base") != NULL);
    CHECK(vlmk_cpu_named("no such set") == NULL);
}
