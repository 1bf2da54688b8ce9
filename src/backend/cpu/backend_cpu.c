/* The CPU as a device: memory of the process, a thread team behind env.parallel, kernels of the best instruction set. Work is done
 * when a call returns, so sync has nothing to wait for. Not here: the kernels and their scratch (kernels/cpu). */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "backend_devices.h"
#include "base_team.h"
#include "cpu.h"

struct vlm_device {
    vlm_team *team;
    vlmk_cpu_state *state;
    const vlmk_table *table;
    const char *isa;
    vlmk_env env;
    double flops;
};

static void run_parallel(void *pool, void (*fn)(void *arg, int64_t tile, int worker), void *arg,
                         int64_t n_tiles)
{
    vlm_team_run(pool, fn, arg, n_tiles);
}

static void cpu_close(vlm_device *dev)
{
    if (!dev) return;
    vlmk_cpu_state_destroy(dev->state);
    vlm_team_destroy(dev->team);
    vlm_free(dev);
}

static vlmoe_status cpu_open(const vlm_device_params *params, vlm_device **out, vlmoe_error *error)
{
    int n_threads = params->n_threads ? params->n_threads : vlm_cores_allowed();
    if (params->index != 0)
        return vlm_fail(error, VLMOE_E_ARG, "the cpu device has index 0 only, not %d",
                        params->index);
    if (n_threads < 0)
        return vlm_fail(error, VLMOE_E_ARG, "n_threads is %d, expected 0 (all cores) or more",
                        n_threads);
    vlm_device *dev = vlm_alloc(sizeof *dev);
    if (!dev) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a cpu device");
    vlmoe_status status = vlm_team_create(n_threads, &dev->team, error);
    if (!status) {
        dev->state = vlmk_cpu_state_create(n_threads);
        if (!dev->state)
            status = vlm_fail(error, VLMOE_E_NOMEM, "no memory for the cpu kernels of %d threads",
                              n_threads);
    }
    if (status) {
        cpu_close(dev);
        return status;
    }
    dev->table = vlmk_cpu_select(&dev->isa);
    vlmk_cpu_env_init(&dev->env, dev->state, dev->team, n_threads, run_parallel);
    dev->env.flops = &dev->flops;
    vlm_logf(params->log, VLMOE_LOG_INFO, "backend", "cpu: %d threads, %s, oneDNN %s", n_threads,
             dev->isa, vlmk_cpu_dnnl_version());
    *out = dev;
    return VLMOE_OK;
}

/* A block is preceded by one page (mapped) or 256 bytes (from the heap) that end in its header. */
typedef struct block_header {
    void *start;
    size_t mapped_bytes; /* 0 = from the heap */
} block_header;
enum { HEAP_PAD = 256, PAGE = 4096, LARGE_BYTES = 1 << 20, HUGE_BYTES = 1 << 21 };

static block_header *header_of(void *ptr)
{
    return (block_header *)((char *)ptr - sizeof(block_header));
}

/* Address space only; the system gives pages when they are touched. */
static void *map_large(size_t bytes)
{
    size_t total = bytes + PAGE;
    char *start = mmap(NULL, total, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return NULL;
    if (bytes >= HUGE_BYTES)
        (void)madvise(start, total,
                      MADV_HUGEPAGE); /* fewer page faults; a refusal costs only speed */
    *header_of(start + PAGE) = (block_header){.start = start, .mapped_bytes = total};
    return start + PAGE;
}

static void *take_small(size_t bytes)
{
    char *start = NULL;
    if (posix_memalign((void **)&start, HEAP_PAD, bytes + HEAP_PAD) != 0) return NULL;
    memset(start, 0, bytes + HEAP_PAD);
    *header_of(start + HEAP_PAD) = (block_header){.start = start};
    return start + HEAP_PAD;
}

static vlmoe_status cpu_alloc(vlm_device *dev, vlm_memory_kind kind, size_t bytes, void **out,
                              vlmoe_error *error)
{
    (void)dev, (void)kind; /* pinned memory is a matter of accelerators */
    void *ptr = NULL;
    if (bytes < SIZE_MAX / 2) ptr = bytes < LARGE_BYTES ? take_small(bytes) : map_large(bytes);
    if (!ptr)
        return vlm_fail(error, VLMOE_E_NOMEM, "the system refused %zu bytes of memory", bytes);
    *out = ptr;
    return VLMOE_OK;
}

static void cpu_release(vlm_device *dev, void *ptr)
{
    (void)dev;
    if (!ptr) return;
    block_header header = *header_of(ptr);
    if (header.mapped_bytes) munmap(header.start, header.mapped_bytes);
    else free(header.start);
}

static vlmoe_status cpu_copy(vlm_device *dev, void *dst, const void *src, size_t bytes)
{
    (void)dev;
    if (bytes) memmove(dst, src, bytes);
    return VLMOE_OK;
}

static vlmoe_status cpu_zero(vlm_device *dev, void *dst, size_t bytes)
{
    (void)dev;
    if (bytes) memset(dst, 0, bytes);
    return VLMOE_OK;
}

static vlmoe_status cpu_sync(vlm_device *dev, vlmoe_error *error)
{
    (void)dev, (void)error;
    return VLMOE_OK;
}

static vlmk_env *cpu_env(vlm_device *dev)
{
    return &dev->env;
}

static void cpu_call_done(vlm_device *dev)
{
    vlmk_cpu_call_done(&dev->env);
}

static const vlmk_table *cpu_kernels(vlm_device *dev)
{
    return dev->table;
}

static void cpu_describe(vlm_device *dev, char *text, size_t bytes)
{
    /* Which products oneDNN takes decides bits too: bf16 differs with and without AMX. */
    const char *product = vlmk_cpu_dnnl_impl(dev->state, 64, 256, 768, VLMOE_BF16);
    snprintf(text, bytes, "%s, oneDNN %s, %s", dev->isa, vlmk_cpu_dnnl_version(),
             product ? product : "bf16 by f32");
}

static double cpu_flops(vlm_device *dev)
{
    return dev->flops;
}

static size_t cpu_scratch_peak(vlm_device *dev)
{
    return vlmk_cpu_scratch_bytes(dev->state);
}

static size_t cpu_products_bytes(vlm_device *dev)
{
    return (size_t)vlmk_cpu_products_made(dev->state) * VLMK_CPU_PRODUCT_BYTES;
}

static void cpu_reserve(vlm_device *dev, size_t scratch_bytes)
{
    vlmk_cpu_scratch_reserve(dev->state, scratch_bytes);
}

const vlm_backend vlm_backend_cpu = {
    .abi = VLM_BACKEND_ABI,
    .name = "cpu",
    .has_data = true,
    .is_host = true,
    .wide = VLMOE_F32,
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_copy,
    .download = cpu_copy,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .sync = cpu_sync,
    .env = cpu_env,
    .call_done = cpu_call_done,
    .kernels = cpu_kernels,
    .describe = cpu_describe,
    .flops = cpu_flops,
    .scratch_peak = cpu_scratch_peak,
    .products_bytes = cpu_products_bytes,
    .reserve = cpu_reserve,
};
