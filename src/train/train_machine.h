/* What a machine can do, as a planner needs it: a JSON file that --calibrate writes for the present one, or one of configs/machines/.
 * docs/FORMATS.md has the keys. */
#ifndef VLM_TRAIN_MACHINE_H
#define VLM_TRAIN_MACHINE_H

#include "base_json.h"
#include "comm.h"
#include "train.h"

/* Between two ranks: rate of one direction of one rank, and time before the first byte. */
typedef struct vlm_link {
    double gbytes; /* 1e9 bytes per second */
    double microseconds;
} vlm_link;

/* Rates that whole steps sustain, not peaks. By type: 0 f32, 1 bf16. */
typedef struct vlm_machine {
    char name[96];
    int64_t ranks_per_node;
    bool shares_node; /* ranks divide the rates and the memory below among them; else each rank has them for itself */
    double memory_mib;
    double product_gflops[2];   /* 1e9 operations per second, a multiply-add is two */
    double attention_gflops[2];
    double memory_gbytes;
    vlm_link node, network;     /* within a node, between nodes */
} vlm_machine;

/* Errors: IO, FORMAT (names file and key: missing, not a number, out of range, unknown). */
vlmoe_status vlm_machine_read(const char *path, vlm_machine *out, vlmoe_error *error);
void vlm_machine_write(const vlm_machine *machine, vlm_text *out);

/* Measure this machine, for seconds: products and attention of the config's widths in both types, memory, and the link between two
 * ranks of comm; comm NULL or of one rank: between two threads. Collective over comm; rates are the sum over its ranks, which
 * share the node.  Errors: those of the device and of comm. */
vlmoe_status vlm_machine_measure(const vlmoe_config *config, int64_t n_words, vlm_comm *comm, vlm_machine *out, vlmoe_error *error);

#endif
