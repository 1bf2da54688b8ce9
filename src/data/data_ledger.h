/* What became of the rows of a set: how many were read and packed, which were left out and why, and
 * what else is worth knowing. Nothing gets smaller in silence. */
#ifndef VLM_DATA_LEDGER_H
#define VLM_DATA_LEDGER_H

#include "base.h"

typedef enum vlm_note {
    /* faults: these end the work unless they are to be left out */
    VLM_NOTE_PICTURE_MISSING,
    VLM_NOTE_PICTURE_DAMAGED,
    VLM_NOTE_NO_PICTURE,    /* the row names none */
    VLM_NOTE_NO_TEXT,       /* none, an empty one, or one that is not UTF-8 */
    VLM_NOTE_NO_ANNOTATION, /* a question without answers */
    VLM_NOTE_LABEL_UNKNOWN, /* not among the classes */
    VLM_NOTE_DUPLICATE,     /* an id again */
    VLM_NOTE_NO_QUESTION,   /* an annotation without a question; it was no row */
    VLM_NOTE_ANNOTATION_AGAIN, /* likewise: the first of a question counts */
    /* no faults */
    VLM_NOTE_NO_GOLD,        /* row left out: its annotators did not agree */
    VLM_NOTE_OTHER_SPLIT,    /* row left out: not what was asked for */
    VLM_NOTE_NO_LABEL,       /* row packed: none of its answers is a class */
    VLM_NOTE_UNLABELLED,     /* row packed: it says nothing of labels, and its set has classes */
    VLM_NOTE_UNKNOWN_TOKEN,  /* row packed: its text has a token that stands for what was unknown */
    VLM_NOTE_CLASS_EMPTY,    /* a class without a picture */
    VLM_NOTE_PICTURE_UNUSED, /* a file beside the pictures that no row names */
    VLM_NOTES
} vlm_note;

enum { VLM_LEDGER_NAMES = 3, VLM_LEDGER_NAME_MAX = 160 };

typedef struct vlm_ledger { /* starts zeroed but for goes_on */
    bool goes_on;          /* a fault leaves its row out; otherwise it ends the work */
    int64_t n_read;        /* rows */
    int64_t n_packed;      /* rows; n_read less the notes that leave rows out */
    struct {
        int64_t n;
        char names[VLM_LEDGER_NAMES][VLM_LEDGER_NAME_MAX]; /* of the first ones */
    } notes[VLM_NOTES];
} vlm_ledger;

/* "its picture is missing" */
const char *vlm_note_text(vlm_note note);
bool vlm_note_is_fault(vlm_note note);
bool vlm_note_leaves_out(vlm_note note); /* a row that was counted as read */

/* Count it. name: the row's id or the file; why: more of the reason, or NULL. Errors: FORMAT (a
 * fault, and the ledger does not go on). */
vlmoe_status vlm_ledger_note(vlm_ledger *ledger, vlm_note note, const char *name, const char *why,
                             vlmoe_error *error);

int64_t vlm_ledger_faults(const vlm_ledger *ledger); /* all counted faults */

#endif
