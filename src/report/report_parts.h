/* What the sections of a page share. Private to src/report. */
#ifndef VLM_REPORT_PARTS_H
#define VLM_REPORT_PARTS_H

#include "report.h"

/* Style sheet and script, each with its element. The script only switches theme and tabs: without it everything is listed. */
void vlm_report_style(vlm_text *out);
void vlm_report_script(vlm_text *out);

/* Expert e has the class e0, e1, ...: hues that colour-blind eyes tell apart, again lighter and darker after every eight. Its number
 * always stands beside its colour. */
enum { VLM_EXPERT_CLASSES = 32 };
static inline int vlm_expert_class(int64_t expert)
{
    return (int)(expert % VLM_EXPERT_CLASSES);
}

/* Names that several sections use. */
extern const char *const vlm_report_set_names[VLM_REPORT_SETS];
extern const char *const vlm_report_part_names[4];
void vlm_report_layer_name(vlm_text *out, int64_t block, char modality); /* "block 1, vision" */

void vlm_report_section(vlm_text *out, const char *id, const char *title, const char *about);
void vlm_report_section_end(vlm_text *out);
void vlm_report_missing(vlm_text *out, const char *text); /* a line that says what is not there; text is plain */

void vlm_report_curves(vlm_text *out, const vlm_report *report);

/* ---- tuned tasks: what is told of them, and the parts that only their pages have ---- */

typedef enum vlm_report_kind { VLM_KIND_ANSWERS, VLM_KIND_SEARCH } vlm_report_kind;
typedef struct vlm_report_task {
    const char *name;  /* run.task */
    const char *title; /* "Tuning on ..." */
    vlm_report_kind kind;
    vlm_metric metric; /* its own, */
    int own;           /* and the tile that has it */
    const char *chart, *note; /* of its score; of its loss, or NULL */
    const char *about; /* its examples */
    struct {
        const char *key, *label, *small; /* a tile; a key that ends in a space: all scores that begin so */
    } tile[3];
} vlm_report_task;
const vlm_report_task *vlm_report_task_of(const vlm_report *report); /* NULL: it is no tuned task */
void vlm_report_task_tiles(vlm_text *out, const vlm_report *report, const vlm_report_task *task);
void vlm_report_task_charts(vlm_text *out, const vlm_metrics *metrics, const vlm_report_task *task);
void vlm_report_task_scores(vlm_text *out, const vlm_report *report, const vlm_report_task *task);
void vlm_report_questions(vlm_text *out, const vlm_report *report, const vlm_report_task *task, vlmoe_error *error);

void vlm_report_begin_tile(vlm_text *out, const char *name); /* name is text */
void vlm_report_end_tile(vlm_text *out);
void vlm_report_pictures(vlm_text *out, const vlm_report *report, vlmoe_error *error); /* each once, for reference by id */
/* Hidden patches of an example as one path of unit squares. */
void vlm_report_hidden(vlm_text *out, const vlm_report_example *e, const char *class);
void vlm_report_examples(vlm_text *out, const vlm_report *report);
void vlm_report_layers(vlm_text *out, const vlm_report *report, vlmoe_error *error);
void vlm_report_routes(vlm_text *out, const vlm_report *report, int layer); /* on pictures and words */
void vlm_report_drops(vlm_text *out, const vlm_report *report);
void vlm_report_codes(vlm_text *out, const vlm_report *report);
void vlm_report_settings(vlm_text *out, const vlm_report *report);

/* A piece as people read it: the mark of a word's beginning becomes nothing, a piece inside a word gets a dot in front. */
void vlm_report_piece(vlm_text *out, const char *piece);
bool vlm_report_starts_word(const char *piece);

#endif
