/* A small network with a sparse expert layer, built from operations, learns to tell two interleaved half moons apart. Prints the
 * falling loss; exits 0 if at least 9 of 10 points end on the right side. */
#include <math.h>
#include <stdio.h>
#include "vlmoe/ops.h"

enum { N = 200, D = 16, E = 4, F = 32, STEPS = 200, N_PARAMS = 9 };
static const struct {
    const char *name;
    double deviation;
    int rank;
    int64_t shape[3];
} specs[N_PARAMS] = {
    {"embed.weight", 0.7, 2, {D, 2}},     {"embed.bias", 0.0, 1, {D}},
    {"router.weight", 0.1, 2, {E, D}},    {"experts.fc1.weight", 0.25, 3, {E, F, D}},
    {"experts.fc1.bias", 0.0, 2, {E, F}}, {"experts.fc2.weight", 0.2, 3, {E, D, F}},
    {"experts.fc2.bias", 0.0, 2, {E, D}}, {"head.weight", 0.25, 2, {2, D}},
    {"head.bias", 0.0, 1, {2}},
};

/* Point i of N: even ones on the upper moon, odd ones on the lower. */
static void make_moons(float (*point)[2], int32_t *side)
{
    for (int i = 0; i < N; i++) {
        double angle = 3.14159265 * i / N;
        side[i] = i % 2;
        point[i][0] = (float)(side[i] ? 1.0 - cos(angle) : cos(angle));
        point[i][1] = (float)(side[i] ? 0.5 - sin(angle) : sin(angle));
    }
}

/* Points [N, 2] to logits [N, 2]. p: the parameters in the order of specs. */
static vlmoe_tensor *forward(vlmoe_tape *tape, vlmoe_tensor *const *p, float (*point)[2])
{
    vlmoe_moe_params moe = VLMOE_MOE_PARAMS;
    vlmoe_moe_weights experts = {p[2], p[3], p[4], p[5], p[6]};
    vlmoe_tensor *x = vlmoe_input(tape, VLMOE_F32, 2, (const int64_t[]){N, 2}, point);
    x = vlmoe_linear(tape, x, p[0], p[1], VLMOE_ACT_GELU);
    x = vlmoe_add(tape, x, vlmoe_moe(tape, x, &experts, &moe));
    return vlmoe_linear(tape, x, p[7], p[8], VLMOE_ACT_NONE);
}

/* One step of training; the loss before it. */
static vlmoe_status train(vlmoe_context *ctx, vlmoe_tensor *const *p, float (*point)[2],
                          const int32_t *side, int step, double *loss)
{
    vlmoe_adamw_params adamw = VLMOE_ADAMW_PARAMS;
    vlmoe_tape *tape;
    adamw.lr = 0.01;
    adamw.clip = 1.0;
    vlmoe_status status = vlmoe_tape_begin(ctx, VLMOE_TRAIN, &tape);
    if (status) return status;
    vlmoe_loss_add(tape, vlmoe_cross_entropy(tape, forward(tape, p, point), side), 1.0);
    status = vlmoe_tape_loss(tape, loss); /* any failure of the recording surfaces here */
    if (!status) status = vlmoe_grad_zero(ctx);
    if (!status) status = vlmoe_tape_backward(tape, 1.0);
    vlmoe_tape_end(tape);
    return status ? status : vlmoe_adamw_step(ctx, &adamw, step, NULL);
}

static int count_right(vlmoe_context *ctx, vlmoe_tensor *const *p, float (*point)[2],
                       const int32_t *side)
{
    static float logit[N][2];
    vlmoe_tape *tape;
    int n_right = 0;
    if (vlmoe_tape_begin(ctx, VLMOE_PREDICT, &tape)) return -1;
    vlmoe_tensor *y = forward(tape, p, point);
    if (!y || vlmoe_tensor_read(y, logit, sizeof logit)) n_right = -N;
    for (int i = 0; i < N; i++) n_right += (logit[i][1] > logit[i][0]) == side[i];
    vlmoe_tape_end(tape);
    return n_right;
}

int main(void)
{
    static float point[N][2];
    static int32_t side[N];
    vlmoe_context_params params = VLMOE_CONTEXT_PARAMS;
    vlmoe_context *ctx;
    vlmoe_tensor *p[N_PARAMS];
    vlmoe_error error;
    double loss = 0.0;
    if (vlmoe_context_create(&params, &ctx, &error)) return fprintf(stderr, "%s\n", error.text), 1;
    make_moons(point, side);
    vlmoe_status status = VLMOE_OK;
    for (int i = 0; i < N_PARAMS && !status; i++)
        status = vlmoe_param_create(ctx, specs[i].name, specs[i].rank, specs[i].shape, &p[i]);
    for (int i = 0; i < N_PARAMS && !status; i++)
        status = vlmoe_param_init_normal(p[i], specs[i].deviation);
    for (int step = 1; step <= STEPS && !status; step++) {
        status = train(ctx, p, point, side, step, &loss);
        if (!status && (step == 1 || step % 40 == 0)) printf("step %3d  loss %.4f\n", step, loss);
    }
    int n_right = status ? -1 : count_right(ctx, p, point, side);
    if (n_right < 0) fprintf(stderr, "%s\n", vlmoe_context_error(ctx));
    else printf("%d of %d points on the right side\n", n_right, N);
    vlmoe_context_destroy(ctx);
    return n_right >= N * 9 / 10 ? 0 : 1;
}
