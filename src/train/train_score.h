/* From an evaluation's predictions to the field's scores. Retrieval's are train_retrieve.h's. */
#ifndef VLM_TRAIN_SCORE_H
#define VLM_TRAIN_SCORE_H

#include "train_report.h"

/* tally->predictions against what the samples' json says, into tally->scores, the task's metric first:
 *   vqa       accuracy by the official rules where the json has "answers", else the soft score of the class; by answer_type
 *   nlvr2     accuracy, consistency
 *   classify  top1, top5
 *   nli       accuracy, and apart where the json has "split"
 * Beside them what answering without looking gives: majority, the class that does best when always given (of vqa by the labels' scores), and
 * chance, the mean over classes.
 * Samples without a label are left out; without any there are no scores.  Errors: FORMAT, IO, NOMEM; the text is the trainer's. */
vlmoe_status vlm_task_score(vlmoe_trainer *trainer, vlm_tally *tally);

#endif
