/* Agreement of ranks: on what they start from, and on failures that all of them can know. */
#include "train_ranks.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Keys that change neither numbers nor the order of collectives. */
static const char *const free_keys[] = {"run.threads",   "run.ranks",  "run.deadline",
                                        "run.log_every", "run.report", "data.workers",
                                        "data.prefetch", "data.cache", "data.cache_mib"};
enum { MAX_NAMED = 3, MAX_SHOWN = 120 };

vlmoe_config vlm_seat_config(const vlm_seat *seat, const vlmoe_config *config)
{
    vlmoe_config c = *config;
    if (!seat) return c;
    if (seat->n_threads) c.run.threads = seat->n_threads;
    c.data.cache_mib /= seat->n_here;
    if (c.run.memory_mib) c.run.memory_mib = VLM_MAX(c.run.memory_mib / seat->n_here, 1);
    return c;
}

void vlm_facts_put(vlm_text *facts, const char *name, const char *format, ...)
{
    char value[256];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    vlm_text_put(facts, "%s\t%s\n", name, value);
}

static bool is_free(const char *line)
{
    for (int i = 0; i < VLM_COUNT(free_keys); i++) {
        size_t n = strlen(free_keys[i]);
        if (!strncmp(line, free_keys[i], n) && line[n] == '\t') return true;
    }
    return false;
}

void vlm_facts_put_config(vlm_text *facts, const vlmoe_config *config)
{
    vlm_text keys = {0};
    vlm_facts_put(facts, "the version of libvlmoe", "%d.%d.%d", VLMOE_VERSION_MAJOR,
                  VLMOE_VERSION_MINOR, VLMOE_VERSION_PATCH);
    vlm_config_list(config, &keys);
    facts->failed |= keys.failed;
    for (char *line = keys.data, *end; line && (end = strchr(line, '\n')) != NULL; line = end + 1)
        if (!is_free(line)) vlm_text_append(facts, line, (size_t)(end - line) + 1);
    vlm_text_free(&keys);
}

void vlm_text_put_ranks(vlm_text *text, int size, const bool *is_named)
{
    int n = 0;
    for (int p = 0; p < size; p++) n += is_named[p];
    const char *between = n == 1 ? "rank " : "ranks ";
    for (int p = 0; p < size; p++) {
        if (!is_named[p]) continue;
        int last = p;
        while (last + 1 < size && is_named[last + 1]) last++;
        vlm_text_put(text, last > p ? "%s%d-%d" : "%s%d", between, p, last);
        between = ", ";
        p = last;
    }
}

/* The present line of every rank's facts: name, tab, value. */
typedef struct facts_line {
    const char *at; /* NULL: no line is left */
    size_t bytes;
} facts_line;

static facts_line first_line(const char *at, const char *end)
{
    const char *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    return stop ? (facts_line){at, (size_t)(stop - at)} : (facts_line){NULL, 0};
}

static bool is_equal(facts_line a, facts_line b)
{
    return a.bytes == b.bytes && (!a.bytes || !memcmp(a.at, b.at, a.bytes));
}

static void put_value(vlm_text *text, facts_line line)
{
    const char *tab = line.at ? memchr(line.at, '\t', line.bytes) : NULL;
    size_t n = tab ? line.bytes - (size_t)(tab + 1 - line.at) : 0;
    vlm_text_put(text, "%.*s%s on ", (int)VLM_MIN(n, MAX_SHOWN), tab ? tab + 1 : "",
                 n > MAX_SHOWN ? "..."
                 : tab         ? ""
                               : "nothing");
}

/* "optim.lr: 0.002 on ranks 0-2, 0.5 on rank 3" */
static void put_difference(vlm_text *text, int size, const facts_line *lines, bool *is_named)
{
    const char *tab = memchr(lines[0].at, '\t', lines[0].bytes);
    const char *between = ": ";
    vlm_text_append(text, lines[0].at, tab ? (size_t)(tab - lines[0].at) : lines[0].bytes);
    for (int p = 0; p < size; p++) {
        bool is_new = true;
        for (int q = 0; q < p; q++) is_new = is_new && !is_equal(lines[p], lines[q]);
        if (!is_new) continue;
        for (int q = 0; q < size; q++) is_named[q] = is_equal(lines[p], lines[q]);
        vlm_text_put(text, "%s", between);
        put_value(text, lines[p]);
        vlm_text_put_ranks(text, size, is_named);
        between = ", ";
    }
}

/* Walk the facts of all ranks together; returns how many lines differ, the first few of them described. */
static int find_differences(int size, const char *blocks, const size_t *at, facts_line *lines,
                            vlm_text *out)
{
    int n = 0;
    bool *is_named = vlm_alloc_array((size_t)size, sizeof *is_named);
    for (int p = 0; p < size; p++) lines[p] = first_line(blocks + at[p], blocks + at[p + 1]);
    for (; is_named && lines[0].at;) {
        bool differs = false;
        for (int p = 1; p < size; p++) differs = differs || !is_equal(lines[p], lines[0]);
        if (differs && n < MAX_NAMED) {
            if (n) vlm_text_put(out, "; ");
            put_difference(out, size, lines, is_named);
        }
        n += differs;
        for (int p = 0; p < size; p++)
            if (lines[p].at)
                lines[p] = first_line(lines[p].at + lines[p].bytes + 1, blocks + at[p + 1]);
    }
    out->failed |= !is_named;
    vlm_free(is_named);
    return n;
}

vlmoe_status vlm_facts_compare(vlm_seat *seat, const char *what, const vlm_text *facts,
                               vlmoe_error *error)
{
    size_t *at = vlm_alloc_array((size_t)seat->size + 1, sizeof *at);
    facts_line *lines = vlm_alloc_array((size_t)seat->size, sizeof *lines);
    char *blocks = NULL;
    vlm_text found = {0};
    vlmoe_status st = at && lines && !facts->failed
                          ? vlm_comm_share_blocks(seat->world, what, facts->data, facts->bytes,
                                                  &blocks, at, error)
                          : vlm_fail(error, VLMOE_E_NOMEM, "out of memory to compare ranks");
    int n = st ? 0 : find_differences(seat->size, blocks, at, lines, &found);
    if (found.failed) st = vlm_fail(error, VLMOE_E_NOMEM, "out of memory to compare ranks");
    else if (n) {
        char more[48] = "";
        if (n > MAX_NAMED) snprintf(more, sizeof more, "; and %d more", n - MAX_NAMED);
        seat->fails_alike = true;
        st = vlm_fail(error, VLMOE_E_ARG, "ranks of one run differ in %s%s", found.data, more);
    }
    vlm_text_free(&found);
    vlm_free(blocks);
    vlm_free(lines);
    vlm_free(at);
    return st;
}

vlmoe_status vlm_ranks_know(vlm_seat *seat, vlmoe_status status)
{
    if (seat) seat->fails_alike = status && status != VLMOE_E_COMM && status != VLMOE_E_TIMEOUT;
    return status;
}

vlmoe_status vlm_ranks_agree(vlm_seat *seat, const char *what, vlmoe_status status,
                             vlmoe_error *error)
{
    return seat ? vlm_ranks_know(seat, vlm_comm_agree(seat->world, what, status, error)) : status;
}
