/* One feed-forward, dense or of experts, forward and backward on command.
 * usage: bench_layer [--dtype f32|bf16] [--tokens T] [--width D] [--hidden F] [--experts E] [--k K] [--routing balanced|zipf|FILE] [--threads N]
 * "dense" runs one feed-forward of hidden width K F, "moe" a sparse one with K of E experts of width F a token, none dropped: the same products'
 * work. Each answers with one line: seconds of router, dispatch, products, combine and all their gradients; GFLOP of the feed-forward's products. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "autograd_defer.h"
#include "nn.h"
#include "shared_bench.h"

static const char NAME[] = "bench_layer";

typedef struct layer_bench {
    const char *dtype, *routing;
    int64_t tokens, width, hidden, experts, k, threads;
    vlmoe_context *ctx;
    vlm_ffn_layer dense;
    vlm_moe_layer moe;
    float *host; /* [tokens, width]: input and, again, the result's gradient */
} layer_bench;

static vlmoe_status read_options(int argc, char **argv, layer_bench *b, vlmoe_error *error)
{
    const struct {
        const char *name;
        const char **text;
        int64_t *number;
    } options[] = {{"--dtype", &b->dtype, NULL},   {"--routing", &b->routing, NULL},
                   {"--tokens", NULL, &b->tokens}, {"--width", NULL, &b->width},
                   {"--hidden", NULL, &b->hidden}, {"--experts", NULL, &b->experts},
                   {"--k", NULL, &b->k},           {"--threads", NULL, &b->threads}};
    for (int i = 1; i < argc; i += 2) {
        int j = 0;
        while (j < VLM_COUNT(options) && strcmp(argv[i], options[j].name) != 0) j++;
        if (j == VLM_COUNT(options) || i + 1 == argc)
            return vlm_fail(error, VLMOE_E_ARG, "'%s' is no option, or lacks its value", argv[i]);
        if (options[j].text) *options[j].text = argv[i + 1];
        else *options[j].number = strtoll(argv[i + 1], NULL, 10);
    }
    return VLMOE_OK;
}

static vlmoe_status build(layer_bench *b, vlmoe_error *error)
{
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    params.n_threads = (int)b->threads;
    params.compute = strcmp(b->dtype, "bf16") ? VLMOE_F32 : VLMOE_BF16;
    params.step_bytes = (size_t)4 << 30;
    VLM_TRY(vlmoe_context_create(&params, &b->ctx, error));
    vlm_builder builder = {.ctx = b->ctx, .std = 0.02, .trained = true};
    b->moe = (vlm_moe_layer){.policy = {.E = b->experts, .K = b->k}, .modality = 'v'};
    vlm_ffn_make(&builder, "dense", b->width, b->k * b->hidden, 1.0, &b->dense);
    vlm_moe_make(&builder, "moe", b->width, b->hidden, 1.0, true, &b->moe);
    vlmoe_status st = builder.status;
    if (!st) st = vlm_ctx_build(b->ctx);
    if (!st) st = vlm_ctx_init_params(b->ctx);
    if (!st) st = vlm_defer_open(b->ctx, 0);
    if (st) return vlm_fail(error, st, "%s", vlmoe_context_error(b->ctx));
    b->host = vlm_alloc_array((size_t)(b->tokens * b->width), sizeof *b->host);
    if (!b->host) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < b->tokens * b->width; i++)
        b->host[i] = (float)((i * 2654435761LL) % 1000) * 0.002F - 1.0F;
    return bench_force_routing(b->ctx, b->routing, error);
}

/* An activation with these values that wants a gradient, in the compute type. */
static vlmoe_tensor *activation(vlmoe_tape *tape, const layer_bench *b)
{
    int64_t dim[2] = {b->tokens, b->width};
    vlmoe_tensor *wide = vlm_tensor_new(tape, tape->ctx->wide, 2, dim);
    if (!wide) return NULL;
    tape->ctx->backend->upload(tape->ctx->device, wide->data, b->host,
                               (size_t)(b->tokens * b->width) * sizeof *b->host);
    vlmoe_tensor *x = vlmoe_cast(tape, wide, tape->ctx->compute);
    if (x) x->wants_grad = true;
    return x;
}

static vlmoe_status run(layer_bench *b, bool is_moe, vlmoe_error *error)
{
    vlmoe_tape *tape = NULL;
    VLM_TRY(vlmoe_grad_zero(
        b->ctx)); /* so gradients are written, as in a step of one group; the peer's are too */
    VLM_TRY(vlmoe_tape_begin(b->ctx, VLMOE_TRAIN, &tape));
    vlmoe_tensor *x = activation(tape, b), *dy = activation(tape, b);
    const int32_t set_offset[2] = {0, (int32_t)b->tokens};
    double begin = vlm_now();
    vlmoe_tensor *y = is_moe ? vlm_moe_run(tape, &b->moe, x, 1, set_offset, NULL)
                             : vlm_ffn_run(tape, &b->dense, x);
    double forward = vlm_now();
    vlmoe_status st = vlmoe_tape_status(tape);
    if (!st) st = vlm_grad_give(tape, y, dy->data);
    if (!st) st = vlmoe_tape_backward(tape, 1.0);
    double end = vlm_now();
    vlmoe_tape_end(tape);
    if (st) return vlm_fail(error, st, "%s", vlmoe_context_error(b->ctx));
    double gflop = 12e-9 * (double)b->tokens * (double)b->k * (double)b->width * (double)b->hidden;
    printf("{\"seconds\": %.6f, \"forward\": %.6f, \"gflop\": %.3f}\n", end - begin,
           forward - begin, gflop);
    return VLMOE_OK;
}

static vlmoe_status obey(layer_bench *b, vlmoe_error *error)
{
    char text[BENCH_LINE];
    printf("{\"ready\": \"libvlmoe %d.%d.%d\"}\n", VLMOE_VERSION_MAJOR, VLMOE_VERSION_MINOR,
           VLMOE_VERSION_PATCH);
    for (const char *command; (command = bench_command(text)) && strcmp(command, "quit") != 0;) {
        bool is_moe = !strcmp(command, "moe");
        if (!is_moe && strcmp(command, "dense") != 0)
            return vlm_fail(error, VLMOE_E_ARG, "unknown command '%s'", command);
        VLM_TRY(run(b, is_moe, error));
    }
    return VLMOE_OK;
}

int main(int argc, char **argv)
{
    layer_bench b = {.dtype = "f32",
                     .routing = "balanced",
                     .tokens = 2048,
                     .width = 768,
                     .hidden = 3072,
                     .experts = 32,
                     .k = 1};
    vlmoe_error error = {VLMOE_OK, ""};
    vlmoe_status st = read_options(argc, argv, &b, &error);
    if (!st) st = build(&b, &error);
    if (!st) st = obey(&b, &error);
    vlmoe_context_destroy(b.ctx);
    vlm_free(b.host);
    if (st) bench_die(NAME, &error);
    return 0;
}
