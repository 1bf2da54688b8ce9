/* Train from a config through the public API: steps with their losses, held-out figures at the end, a checkpoint in run.out.
 * usage: example_train CONFIG.json [section.key=value ...] */
#include <math.h>
#include <stdio.h>
#include "vlmoe/train.h"

static const char *const parts[VLMOE_N_PARTS] = {"text", "image", "pair text", "pair image"};

static void print_report(const char *what, const vlmoe_step_report *r)
{
    printf("%s %lld: loss %.4f", what, (long long)r->step, r->loss);
    for (int i = 0; i < VLMOE_N_PARTS; i++)
        if (!isnan(r->part_loss[i]))
            printf(", %s %.3f (%.0f %%)", parts[i], r->part_loss[i], 100.0 * r->part_right[i]);
    if (!isnan(r->reconstruction)) printf(", reconstruction %.4f", r->reconstruction);
    printf("\n");
}

static vlmoe_status run(vlmoe_trainer *trainer)
{
    vlmoe_step_report report = {.struct_size = sizeof report};
    vlmoe_status st;
    do {
        st = vlmoe_trainer_step(trainer, &report);
        if (!st) print_report("step", &report);
    } while (!st);
    if (st != VLMOE_E_STATE) return st; /* STATE: all steps are done */

    st = vlmoe_trainer_evaluate(trainer, &report);
    if (!st) print_report("held out after step", &report);
    if (st == VLMOE_E_STATE) st = VLMOE_OK; /* the config names no held-out data */
    return st ? st : vlmoe_trainer_save(trainer, NULL);
}

int main(int argc, char **argv)
{
    vlmoe_config *config = NULL;
    vlmoe_trainer *trainer = NULL;
    vlmoe_error error = {VLMOE_OK, ""};
    if (argc < 2) {
        fprintf(stderr, "usage: %s CONFIG.json [section.key=value ...]\n", argv[0]);
        return 2;
    }
    vlmoe_status st =
        vlmoe_config_load(argv[1], argc - 2, (const char *const *)argv + 2, &config, &error);
    if (st) goto done;
    st = vlmoe_trainer_create(config, NULL, &trainer, &error);
    if (st) goto done;
    st = run(trainer);
done:
    if (st) fprintf(stderr, "%s\n", trainer ? vlmoe_trainer_error(trainer) : error.text);
    vlmoe_trainer_destroy(trainer);
    vlmoe_config_destroy(config);
    return st ? 1 : 0;
}
