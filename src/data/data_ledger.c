/* The kinds of notes, and counting them. */
#include "data_ledger.h"

#include <stdio.h>

typedef struct kind {
    const char *text;
    bool is_fault, leaves_out;
} kind;

static const kind kinds[VLM_NOTES] = {
    [VLM_NOTE_PICTURE_MISSING] = {"the picture is missing", true, true},
    [VLM_NOTE_PICTURE_DAMAGED] = {"the picture is damaged", true, true},
    [VLM_NOTE_NO_PICTURE] = {"names no picture", true, true},
    [VLM_NOTE_NO_TEXT] = {"a text is missing, empty or not UTF-8", true, true},
    [VLM_NOTE_NO_ANNOTATION] = {"a question without annotation", true, true},
    [VLM_NOTE_LABEL_UNKNOWN] = {"a label that is no class", true, true},
    [VLM_NOTE_DUPLICATE] = {"an id that was there before", true, true},
    [VLM_NOTE_NO_QUESTION] = {"an annotation without question", true, false},
    [VLM_NOTE_ANNOTATION_AGAIN] = {"a second annotation of a question", true, false},
    [VLM_NOTE_NO_GOLD] = {"no gold label (annotators disagree)", false, true},
    [VLM_NOTE_OTHER_SPLIT] = {"of another split", false, true},
    [VLM_NOTE_NO_LABEL] = {"packed without a label: no answer is a class", false, false},
    [VLM_NOTE_UNLABELLED] = {"packed without a label: its row has none", false, false},
    [VLM_NOTE_UNKNOWN_TOKEN] = {"packed with an unknown token in its text", false, false},
    [VLM_NOTE_CLASS_EMPTY] = {"a class without a picture", false, false},
    [VLM_NOTE_PICTURE_UNUSED] = {"a picture that no row names", false, false},
};

const char *vlm_note_text(vlm_note note)
{
    return kinds[note].text;
}

bool vlm_note_is_fault(vlm_note note)
{
    return kinds[note].is_fault;
}

bool vlm_note_leaves_out(vlm_note note)
{
    return kinds[note].leaves_out;
}

vlmoe_status vlm_ledger_note(vlm_ledger *ledger, vlm_note note, const char *name, const char *why,
                             vlmoe_error *error)
{
    const int64_t n = ledger->notes[note].n++;
    if (n < VLM_LEDGER_NAMES)
        snprintf(ledger->notes[note].names[n], VLM_LEDGER_NAME_MAX, "%s%s%s%s", name,
                 why ? " (" : "", why ? why : "", why ? ")" : "");
    if (!kinds[note].is_fault || ledger->goes_on) return VLMOE_OK;
    return vlm_fail(error, VLMOE_E_FORMAT, "%s: %s%s%s", name, kinds[note].text, why ? ": " : "",
                    why ? why : "");
}

int64_t vlm_ledger_faults(const vlm_ledger *ledger)
{
    int64_t n = 0;
    for (int i = 0; i < VLM_NOTES; i++)
        if (kinds[i].is_fault) n += ledger->notes[i].n;
    return n;
}
