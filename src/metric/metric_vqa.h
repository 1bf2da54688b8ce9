/* The score of VQA v2, by the rules of its official evaluation code (Antol et al. 2015; Goyal et al. 2017), mistakes included:
 *
 *   1. Newlines and tabs become spaces; white space at both ends goes (vlm_vqa_trim).
 *   2. If the annotators' answers are all equal byte by byte, the prediction must be too: nothing else is normalised.
 *      Otherwise the prediction and every answer go through rules 3 to 5 (vlm_vqa_normalise).
 *   3. Of ; / [ ] " { } ( ) = + \ _ - > < @ ` , ? ! each sign that has a space before or behind it anywhere in the text is taken out,
 *      and all of them are where a digit, a comma and a digit follow each other; else the sign becomes a space.
 *   4. A full stop goes unless a digit follows (what stands before it does not count: the look-behind of the official pattern is
 *      mistyped), at most 32 of them (a flag of the regular expression is passed where its count belongs).
 *   5. Lower case; words cut at white space; none and zero to ten become digits; a, an, the go; 113 spellings of contractions get
 *      back the one apostrophe they lack, and somebody'd loses its own. (Of the official list's other six, two change nothing and
 *      four hold a capital and never match.)
 *   6. The score against n answers is the mean over annotators of min(1, equal answers among the others / 3): with ten, 0, 0.3, 0.6,
 *      0.9 or 1 for 0, 1, 2, 3 or more that agree.
 *
 * Text is UTF-8. Digits, white space and lower case are Unicode's, as Python's are, but for one rule (base_unicode.h). Bytes that
 * are not UTF-8 stay as they are. */
#ifndef VLM_METRIC_VQA_H
#define VLM_METRIC_VQA_H

#include "base_json.h"
#include "metric_named.h"

char *vlm_vqa_trim(const char *text);      /* rule 1; caller frees with vlm_free, NULL = no memory */
char *vlm_vqa_normalise(const char *text); /* rules 3 to 5; likewise */

/* Rules 1, 2 and 6. Errors: ARG (n < 1), NOMEM. */
vlmoe_status vlm_vqa_score(const char *answer, const char *const *truth, int64_t n, double *out, vlmoe_error *error);

/* Annotators' answers out of JSON: a list of texts, or of objects with "answer". Borrowed; the caller frees the list. Nothing (NULL, 0)
 * where there is no list. Errors: FORMAT (an answer that is no text), NOMEM. */
vlmoe_status vlm_vqa_truth(const vlm_value *answers, const char ***out, int64_t *n, vlmoe_error *error);

/* Soft target in training of an answer that count of ten annotators gave: 0, 0.3, 0.6, 0.9, 1. */
double vlm_vqa_target(int64_t count);

/* The official report: overall, by kind of answer, by kind of question. Sums run in the order of adding, which is the annotation
 * file's in the official code; percentages are vlm_percent's. */
typedef struct vlm_vqa_tally {
    int64_t n;
    double sum;
    vlm_named *answer_types, *question_types;
} vlm_vqa_tally;

vlmoe_status vlm_vqa_tally_init(vlm_vqa_tally *tally, vlmoe_error *error); /* NOMEM; free after a failure is fine too */
void vlm_vqa_tally_free(vlm_vqa_tally *tally);
/* A type may be NULL: the question then counts in no row of that table. Errors: NOMEM. */
vlmoe_status vlm_vqa_tally_add(vlm_vqa_tally *tally, double score, const char *answer_type, const char *question_type, vlmoe_error *error);

#endif
