/* Escaping and numbers. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "report_html.h"

/* What stands for one byte of markup; NULL = itself. */
static const char *escape_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static bool is_control(const char *text, size_t n)
{
    unsigned char c = (unsigned char)text[0];
    if (n == 1) return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
    return n == 2 && c == 0xc2 && (unsigned char)text[1] < 0xa0; /* U+0080 to U+009F */
}

void vlm_html_text(vlm_text *out, const char *text, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t n = vlm_utf8_length(text + at, bytes - at);
        const char *escape = n == 1 ? escape_of(text[at]) : NULL;
        if (escape) vlm_text_append(out, escape, strlen(escape));
        else if (!n || is_control(text + at, n)) vlm_text_append(out, "\xef\xbf\xbd", 3);
        else vlm_text_append(out, text + at, n);
        at += n ? n : 1;
    }
}

void vlm_html_string(vlm_text *out, const char *text)
{
    if (text) vlm_html_text(out, text, strlen(text));
}

void vlm_html_count(vlm_text *out, int64_t value)
{
    char digits[32];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
    for (int i = 0; i < n; i++) {
        bool is_break = i && digits[i - 1] != '-' && (n - i) % 3 == 0;
        vlm_text_put(out, "%s%c", is_break ? "\xe2\x80\xaf" : "", digits[i]);
    }
}

void vlm_html_number(vlm_text *out, double value)
{
    char text[64];
    double size = fabs(value);
    if (!isfinite(value)) {
        vlm_text_put(out, "\xe2\x80\x93");
        return;
    }
    if (size >= 1e15) {
        vlm_text_put(out, "%.2e", value);
        return;
    }
    if (size >= 9999.5) {
        vlm_html_count(out, (int64_t)llround(value));
        return;
    }
    if (size > 0 && size < 1e-3) {
        vlm_text_put(out, "%.2g", value);
        return;
    }
    int decimals = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 0.1 ? 3 : 4;
    int n = snprintf(text, sizeof text, "%.*f", decimals, value);
    while (decimals && text[n - 1] == '0') text[--n] = 0;
    if (decimals && text[n - 1] == '.') text[--n] = 0;
    vlm_text_put(out, "%s", text);
}

void vlm_html_percent(vlm_text *out, double share)
{
    if (!isfinite(share)) vlm_text_put(out, "\xe2\x80\x93");
    else vlm_text_put(out, "%.1f\xe2\x80\xaf%%", 100.0 * share);
}

void vlm_html_seconds(vlm_text *out, double seconds)
{
    if (!isfinite(seconds) || seconds < 0) {
        vlm_text_put(out, "\xe2\x80\x93");
        return;
    }
    if (seconds < 9.95) {
        vlm_text_put(out, "%.1f s", seconds);
        return;
    }
    long long t = (long long)(seconds + 0.5);
    if (t >= 86400) vlm_text_put(out, "%lld d %lld h", t / 86400, t / 3600 % 24);
    else if (t >= 3600) vlm_text_put(out, "%lld h %lld min", t / 3600, t / 60 % 60);
    else if (t >= 60) vlm_text_put(out, "%lld min %lld s", t / 60, t % 60);
    else vlm_text_put(out, "%lld s", t);
}
