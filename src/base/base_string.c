/* Owned C strings and the distance between two words. Growing text is base_text.c's. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base.h"

char *vlm_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = vlm_alloc(bytes);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

char *vlm_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : vlm_alloc((size_t)n + 1);
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

enum { MAX_WORD = 64 };

/* Optimal string alignment: Wagner and Fischer's table with Damerau's swap of neighbours, three
 * rows at a time. */
int vlm_edit_distance(const char *a, const char *b)
{
    size_t n_a = strlen(a), n_b = strlen(b);
    if (strcmp(a, b) == 0) return 0;
    if (n_a > MAX_WORD || n_b > MAX_WORD)
        return (int)VLM_MAX(n_a, n_b); /* no word a person mistyped */
    int rows[3][MAX_WORD + 1];
    int *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= n_b; j++) last[j] = (int)j;
    for (size_t i = 1; i <= n_a; i++) {
        row[0] = (int)i;
        for (size_t j = 1; j <= n_b; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = VLM_MIN(best, VLM_MIN(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = VLM_MIN(best, before[j - 2] + 1);
            row[j] = best;
        }
        int *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[n_b];
}
