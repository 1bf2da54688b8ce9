/* Files of predictions in the forms that the field's servers and scripts take. Text grows in memory; the caller writes it
 * (vlm_file_replace), so a file is whole or not there. */
#ifndef VLM_METRIC_RESULT_H
#define VLM_METRIC_RESULT_H

#include "base_json.h"

typedef enum vlm_result_form {
    VLM_RESULT_VQA,     /* [{"question_id": 7000, "answer": "cat"}, ...], as the VQA server reads it       */
    VLM_RESULT_NLVR2,   /* lines dev-1-0-1,False, as NLVR2's script reads them                             */
    VLM_RESULT_NLI,     /* pairID,gold_label and lines 1n,neutral, as MultiNLI's competitions took them    */
    VLM_RESULT_CLASSIFY /* lines {"image": "a.JPEG", "labels": ["n01440764", ...]}, the best first; our own */
} vlm_result_form;

typedef struct vlm_result_row {
    const char *id;             /* question_id, identifier, pairID, name of the picture */
    bool is_number;             /* the id stands without quotes in JSON                 */
    const char *const *answer;  /* [n] UTF-8, best first                                */
    int n;                      /* at least 1; all but CLASSIFY use the first alone     */
} vlm_result_row;

/* begin, put for each prediction, end. Out of memory is out->failed. In lines of commas a field with a comma, a quote or a line end is
 * quoted as RFC 4180 has it. */
void vlm_result_begin(vlm_result_form form, vlm_text *out);
void vlm_result_put(vlm_result_form form, const vlm_result_row *row, vlm_text *out);
void vlm_result_end(vlm_result_form form, vlm_text *out);

#endif
