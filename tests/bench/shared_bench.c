/* Commands, answers and forced routing; see shared_bench.h. */
#include "shared_bench.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base_file.h"

const char *bench_command(char text[BENCH_LINE])
{
    fflush(stdout);
    if (!fgets(text, BENCH_LINE, stdin)) return NULL;
    text[strcspn(text, "\r\n")] = '\0';
    return text;
}

void bench_die(const char *name, const vlmoe_error *error)
{
    fprintf(stderr, "%s: %s\n", name, error->text);
    exit(1);
}

/* One bench program forces one routing; a kernel has no place to keep it in. */
static struct {
    vlmk_table table;
    int (*select)(vlmk_env *env, const vlmk_router_select_args *args);
    bool is_zipf;
    int32_t *recorded; /* [n], NULL = by rule */
    int64_t n;
} forced;

/* Share of the golden ratio: multiples of it modulo 1 fill [0, 1) evenly (Weyl). */
static const double GOLDEN = 0.61803398874989485;

static int32_t zipf_expert(int64_t token, int64_t n_experts)
{
    double total = 0.0, seen = 0.0;
    for (int64_t e = 0; e < n_experts; e++) total += 1.0 / (double)(e + 1);
    double place = (double)token * GOLDEN;
    place = (place - (double)(int64_t)place) * total;
    for (int64_t e = 0; e < n_experts; e++) {
        seen += 1.0 / (double)(e + 1);
        if (place < seen) return (int32_t)e;
    }
    return (int32_t)(n_experts - 1);
}

static int32_t first_choice(int64_t token, int64_t n_experts)
{
    if (forced.recorded) return (int32_t)(forced.recorded[token % forced.n] % n_experts);
    return forced.is_zipf ? zipf_expert(token, n_experts) : (int32_t)(token % n_experts);
}

static int forced_select(vlmk_env *env, const vlmk_router_select_args *args)
{
    int code = forced.select(env, args);
    if (code) return code;
    for (int64_t t = 0; t < args->T; t++) {
        int64_t first = first_choice(t, args->E);
        for (int64_t k = 0; k < args->K; k++)
            args->expert[t * args->K + k] = (int32_t)((first + k) % args->E);
    }
    return VLMOE_OK;
}

static vlmoe_status read_numbers(const char *path, vlmoe_error *error)
{
    enum { MAX_BYTES = 1 << 26 };
    char *text = NULL;
    size_t bytes = 0;
    VLM_TRY(vlm_file_read(path, MAX_BYTES, &text, &bytes, error));
    forced.recorded = vlm_alloc_array(bytes / 2 + 1, sizeof *forced.recorded);
    for (char *at = text, *end; forced.recorded; at = end) {
        long number = strtol(at, &end, 10);
        if (end == at) break;
        forced.recorded[forced.n++] = (int32_t)labs(number);
    }
    vlm_free(text);
    if (!forced.recorded) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for %s", path);
    return forced.n ? VLMOE_OK : vlm_fail(error, VLMOE_E_FORMAT, "%s: no numbers", path);
}

vlmoe_status bench_force_routing(vlmoe_context *ctx, const char *how, vlmoe_error *error)
{
    if (!strcmp(how, "own")) return VLMOE_OK;
    forced.is_zipf = !strcmp(how, "zipf");
    if (!forced.is_zipf && strcmp(how, "balanced") != 0) VLM_TRY(read_numbers(how, error));
    forced.table = *ctx->kernels;
    forced.select = ctx->kernels->router_select;
    forced.table.router_select = forced_select;
    ctx->kernels = &forced.table;
    return VLMOE_OK;
}
