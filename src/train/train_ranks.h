/* A trainer among several ranks: where it sits, what must be equal on all of them, and how they fail together. */
#ifndef VLM_TRAIN_RANKS_H
#define VLM_TRAIN_RANKS_H

#include "base_json.h"
#include "comm.h"
#include "config.h"

/* One rank of a run, made by vlm_launch. */
typedef struct vlm_seat {
    vlm_comm *world; /* borrowed */
    int rank, size;
    int n_threads;   /* CPU workers of this rank; 0 = run.threads */
    int n_here;      /* ranks of this process: they share its memory */
    bool fails_alike; /* the failure that ends this run is known to all ranks, with the same text */
} vlm_seat;

/* config with this rank's share of the process's threads and memory (run.threads, run.memory_mib, data.cache_mib); lists and texts stay
 * config's. seat NULL: config. */
vlmoe_config vlm_seat_config(const vlm_seat *seat, const vlmoe_config *config);

/* Facts of this rank, "name<tab>value" lines with the same names in the same order on every rank. Collective.
 * Errors: ARG, on every rank alike, with what differs, its values and whose they are; those of vlm_comm. */
void vlm_facts_put(vlm_text *facts, const char *name, const char *format, ...) __attribute__((format(printf, 3, 4)));
vlmoe_status vlm_facts_compare(vlm_seat *seat, const char *what, const vlm_text *facts, vlmoe_error *error);
/* Version of the library, and every key but those that each rank may choose for itself. */
void vlm_facts_put_config(vlm_text *facts, const vlmoe_config *config);

/* The failure of a collective that ends alike on all ranks, noted as one that all know; COMM and TIMEOUT are each rank's own. Returns
 * status. seat NULL: nothing is noted. */
vlmoe_status vlm_ranks_know(vlm_seat *seat, vlmoe_status status);
/* vlm_comm_agree, and the failure is noted as one that all know. seat NULL: status. */
vlmoe_status vlm_ranks_agree(vlm_seat *seat, const char *what, vlmoe_status status, vlmoe_error *error);

/* "rank 3" or "ranks 0-2, 5": those of [size] that are set. */
void vlm_text_put_ranks(vlm_text *text, int size, const bool *is_named);

#endif
