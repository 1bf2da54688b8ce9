/* vlmoe-inspect --routing: where held-out tokens go, expert by expert. */
#include <math.h>
#include <stdio.h>
#include "cli_common.h"
#include "cli_inspect.h"
#include "train_group.h"

static void print_expert(int64_t e, int64_t load, int64_t all, int64_t most)
{
    enum { WIDTH = 40 };
    static const char bar[WIDTH + 1] = "########################################";
    int length = (int)(most ? (load * WIDTH + most / 2) / most : 0);
    printf("    %4lld %10lld  %5.1f %%  %.*s\n", (long long)e, (long long)load,
           100.0 * (double)load / (double)VLM_MAX(all, 1), length, bar);
}

static void print_layer(const vlm_layer_sum *s)
{
    double groups = s->n ? (double)s->n : 1.0, tokens = s->tokens ? (double)s->tokens : 1.0;
    int64_t all = 0, most = 0;
    for (int64_t e = 0; e < s->E; e++) {
        all += s->load[e];
        most = VLM_MAX(most, s->load[e]);
    }
    printf("block %lld, %s: %lld tokens, %lld experts\n", (long long)s->block,
           s->modality == 'v' ? "vision" : "text", (long long)s->tokens, (long long)s->E);
    printf("  dropped %.1f %%, load CV of a group %.2f, entropy of the gates %.3f of %.3f nats\n",
           100.0 * s->dropped / tokens, s->load_cv / groups, s->entropy / groups,
           log((double)s->E));
    for (int64_t e = 0; e < s->E; e++) print_expert(e, s->load[e], all, most);
}

static vlmoe_status route(vlmoe_trainer *t, vlm_tally *tally)
{
    vlmoe_step_report report = {.struct_size = sizeof report};
    if (!t->model)
        return vlm_fail(&t->error, VLMOE_E_ARG, "an image tokeniser has no experts to route to");
    if (!t->val)
        return vlm_fail(&t->error, VLMOE_E_ARG,
                        "no held-out data: name a config with data.val_* by --data FILE");
    return vlm_trainer_evaluate(t, &report, tally);
}

int vlm_cli_inspect_routing(const char *tool, const vlm_cli_model_options *options)
{
    vlm_cli_model model = {0};
    vlm_tally tally = {0};
    vlmoe_error error = {VLMOE_OK, ""};
    vlmoe_status st = vlm_cli_model_open(tool, options, &model, &error);
    if (!st) {
        st = route(model.trainer, &tally);
        if (st) vlm_fail(&error, st, "%s", vlmoe_trainer_error(model.trainer));
    }
    if (!st) {
        printf("%s: routing of %lld held-out samples\n", model.path, (long long)tally.samples);
        if (!tally.n_layers) printf("no sparse layers\n");
        for (int i = 0; i < tally.n_layers; i++) print_layer(&tally.layers[i]);
    }
    vlm_tally_free(&tally);
    vlm_cli_model_close(&model);
    return st ? vlm_cli_report(tool, &error) : CLI_OK;
}
