/* Normal form of answers in VQA v2: rules 1 and 3 to 5 of metric_vqa.h. */
#include <string.h>
#include "base_json.h"
#include "base_unicode.h"
#include "metric_vqa.h"

enum { MAX_STOPS = 32 }; /* full stops taken out of one text */

static const char signs[] = ";/[]\"{}()=+\\_-><@`,?!";

/* A word that lacks exactly one apostrophe of one of these gets it back. The official list has let's and she's only as they
 * are, so lets and shes stay. */
static const char *const contractions[] = {
    "'ow's'at",      "'twas",       "ain't",       "aren't",         "can't",
    "could've",      "couldn't",    "couldn't've", "didn't",         "doesn't",
    "don't",         "hadn't",      "hadn't've",   "hasn't",         "haven't",
    "he'd",          "he'd've",     "he's",        "how'd",          "how'll",
    "how's",         "isn't",       "it'd",        "it'd've",        "it'll",
    "ma'am",         "might've",    "mightn't",    "mightn't've",    "must've",
    "mustn't",       "needn't",     "not've",      "o'clock",        "oughtn't",
    "shan't",        "she'd've",    "should've",   "shouldn't",      "shouldn't've",
    "somebody'd've", "somebody'll", "somebody's",  "someone'd",      "someone'd've",
    "someone'll",    "someone's",   "something'd", "something'd've", "something'll",
    "that's",        "there'd",     "there'd've",  "there're",       "there's",
    "they'd",        "they'd've",   "they'll",     "they're",        "they've",
    "wasn't",        "we'd've",     "we've",       "weren't",        "what'll",
    "what're",       "what's",      "what've",     "when's",         "where'd",
    "where's",       "where've",    "who'd",       "who'd've",       "who'll",
    "who's",         "who've",      "why'll",      "why're",         "why's",
    "won't",         "would've",    "wouldn't",    "wouldn't've",    "y'all",
    "y'all'd've",    "y'all'll",    "you'd",       "you'd've",       "you'll",
    "you're",        "you've"};

static const char *const numbers[][2] = {
    {"none", "0"}, {"zero", "0"}, {"one", "1"},   {"two", "2"},   {"three", "3"}, {"four", "4"},
    {"five", "5"}, {"six", "6"},  {"seven", "7"}, {"eight", "8"}, {"nine", "9"},  {"ten", "10"}};

/* The character at text; what is not UTF-8 is read byte by byte as a character of no kind. */
static size_t read_character(const char *text, size_t bytes, int32_t *code)
{
    size_t n = vlm_unicode_read(text, bytes, code);
    if (n || !bytes) return n;
    *code = 0xFFFD;
    return 1;
}

static char *taken(vlm_text *text)
{
    if (!text->failed && text->data) return text->data;
    vlm_text_free(text);
    return NULL;
}

/* ---- ends ---- */

char *vlm_vqa_trim(const char *text)
{
    size_t bytes = strlen(text), first = bytes, last = 0;
    char *copy = vlm_strdup(text);
    if (!copy) return NULL;
    for (size_t at = 0; at < bytes;) {
        int32_t code;
        size_t n = read_character(text + at, bytes - at, &code);
        if (copy[at] == '\n' || copy[at] == '\t') copy[at] = ' ';
        if (!vlm_unicode_is_space(code)) {
            first = VLM_MIN(first, at);
            last = at + n;
        }
        at += n;
    }
    if (first >= last) first = last = 0;
    memmove(copy, copy + first, last - first);
    copy[last - first] = '\0';
    return copy;
}

/* ---- signs and full stops ---- */

static bool has_digits_round_comma(const char *text, size_t bytes)
{
    int32_t before[2] = {0, 0}; /* the last two characters, the nearer one second */
    for (size_t at = 0; at < bytes;) {
        int32_t code;
        at += read_character(text + at, bytes - at, &code);
        if (before[1] == ',' && vlm_unicode_is_digit(before[0]) && vlm_unicode_is_digit(code))
            return true;
        before[0] = before[1];
        before[1] = code;
    }
    return false;
}

/* Rule 3. Signs are one byte, and no sign is part of a longer character. */
static void put_without_signs(const char *text, size_t bytes, vlm_text *out)
{
    bool takes_out[sizeof signs] = {false};
    bool all = has_digits_round_comma(text, bytes);
    for (size_t at = 0; at < bytes; at++) {
        const char *sign = strchr(signs, text[at]);
        if (sign && (all || text[at + 1] == ' ' || (at && text[at - 1] == ' ')))
            takes_out[sign - signs] = true;
    }
    for (size_t at = 0; at < bytes; at++) {
        const char *sign = strchr(signs, text[at]);
        if (!sign) vlm_text_append(out, text + at, 1);
        else if (!takes_out[sign - signs]) vlm_text_append(out, " ", 1);
    }
}

/* Rule 4, in place. */
static void drop_stops(vlm_text *text)
{
    size_t kept = 0;
    for (size_t at = 0, n_dropped = 0; at < text->bytes; at++) {
        int32_t next = 0;
        read_character(text->data + at + 1, text->bytes - at - 1, &next);
        if (text->data[at] == '.' && n_dropped < MAX_STOPS && !vlm_unicode_is_digit(next))
            n_dropped++;
        else text->data[kept++] = text->data[at];
    }
    text->bytes = kept;
    text->data[kept] = '\0';
}

/* ---- words ---- */

static bool lacks_one_apostrophe(const char *word, const char *whole)
{
    while (*word && *word == *whole) {
        word++;
        whole++;
    }
    return *whole == '\'' && !strcmp(word, whole + 1);
}

/* What stands for a word in lower case; NULL: nothing. */
static const char *word_for(const char *word)
{
    for (int i = 0; i < VLM_COUNT(numbers); i++)
        if (!strcmp(word, numbers[i][0])) return numbers[i][1];
    if (!strcmp(word, "a") || !strcmp(word, "an") || !strcmp(word, "the")) return NULL;
    if (!strcmp(word, "somebody'd")) return "somebodyd";
    for (int i = 0; i < VLM_COUNT(contractions); i++)
        if (lacks_one_apostrophe(word, contractions[i])) return contractions[i];
    return word;
}

static void put_word(vlm_text *word, vlm_text *out)
{
    const char *text = word->bytes ? word_for(word->data) : NULL;
    if (text && out->bytes) vlm_text_append(out, " ", 1);
    if (text) vlm_text_append(out, text, strlen(text));
    vlm_text_clear(word, 0);
}

/* Rule 5. */
static void put_words(const vlm_text *text, vlm_text *word, vlm_text *out)
{
    for (size_t at = 0; at < text->bytes;) {
        int32_t code;
        char lower[VLM_UNICODE_LOWER_BYTES];
        size_t n = vlm_unicode_read(text->data + at, text->bytes - at, &code);
        if (!n) vlm_text_append(word, text->data + at, 1);
        else if (vlm_unicode_is_space(code)) put_word(word, out);
        else vlm_text_append(word, lower, vlm_unicode_lower(code, lower));
        at += VLM_MAX(n, 1);
    }
    put_word(word, out);
}

char *vlm_vqa_normalise(const char *text)
{
    vlm_text plain = {0}, word = {0}, out = {0};
    vlm_text_clear(&plain, strlen(text));
    vlm_text_clear(&word, 0);
    vlm_text_clear(&out, 0);
    put_without_signs(text, strlen(text), &plain);
    if (!plain.failed) {
        drop_stops(&plain);
        put_words(&plain, &word, &out);
    }
    out.failed = out.failed || plain.failed || word.failed;
    vlm_text_free(&plain);
    vlm_text_free(&word);
    return taken(&out);
}
