/* The progress of a training on a terminal or in a file. */
#include "cli_screen.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void put_duration(vlm_text *line, double seconds)
{
    long t = (long)(seconds + 0.5);
    if (t >= 3600) vlm_text_put(line, "%ld h %02ld min", t / 3600, t / 60 % 60);
    else if (t >= 60) vlm_text_put(line, "%ld min %02ld s", t / 60, t % 60);
    else vlm_text_put(line, "%ld s", t);
}

/* Shares in per cent, other figures as they are. */
static void put_task(vlm_text *line, const vlm_task_info *task, const vlm_tally *tally)
{
    const char *name;
    for (int i = 0; i < VLM_N_MEASURES && (name = vlm_measure_name(task, i)); i++) {
        const double mean = vlm_measure_mean(&tally->measures, i);
        const bool is_share = vlm_measure_is_share(task, i);
        if (!isnan(mean))
            vlm_text_put(line, is_share ? "  %s %.0f %%" : "  %s %.3f", name,
                         is_share ? 100.0 * mean : mean);
    }
    for (int i = 0; i < tally->scores.n; i++)
        vlm_text_put(line, "  %s %.1f%s", tally->scores.at[i].name,
                     tally->scores.at[i].value * (tally->scores.at[i].is_share ? 100.0 : 1.0),
                     tally->scores.at[i].is_share ? " %" : "");
}

static void put_losses(vlm_text *line, const vlmoe_step_report *r)
{
    if (!isnan(r->loss)) vlm_text_put(line, "loss %.3f", r->loss);
    for (int i = 0; i < VLMOE_N_PARTS; i++)
        if (!isnan(r->part_loss[i]))
            vlm_text_put(line, "  %s %.3f (%.0f %%)", vlm_part_names[i], r->part_loss[i],
                         100.0 * r->part_right[i]);
    if (!isnan(r->reconstruction))
        vlm_text_put(line, "  reconstruction %.4f  commitment %.4f  codes used %.0f %%",
                     r->reconstruction, r->commitment, 100.0 * r->code_usage);
}

void vlm_screen_end_line(vlm_screen *s)
{
    if (s->has_line) printf("\n");
    s->has_line = false;
}

/* Columns of the terminal; a line that wraps could not be drawn over. */
static int columns(void)
{
    struct winsize size = {0};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || size.ws_col < 20 ? 80 : size.ws_col;
}

/* On a terminal one line that is drawn over, cut at its width; elsewhere whole lines. */
static void draw(vlm_screen *s, const vlm_text *line)
{
    if (!line->data) return;
    if (s->is_terminal) printf("\r\033[K%.*s", columns() - 1, line->data);
    else printf("%s\n", line->data);
    s->has_line = s->is_terminal;
    fflush(stdout);
}

static void show_train(vlm_screen *s, const vlmoe_step_report *r, const vlm_tally *tally)
{
    const vlm_cfg_run *run = &s->config->run;
    vlm_text *line = &s->line;
    s->step_seconds = s->step_seconds > 0 ? 0.9 * s->step_seconds + 0.1 * r->seconds : r->seconds;
    bool is_due =
        r->step % run->log_every == 0 || r->step == run->steps || r->step == s->first_step + 1;
    if (!s->is_terminal && !is_due) return;
    vlm_text_clear(line, 512);
    vlm_text_put(line, "step %lld/%lld  ", (long long)r->step, (long long)run->steps);
    put_duration(line, (double)(run->steps - r->step) * s->step_seconds);
    vlm_text_put(line, " left  %.0f samples/s  ", (double)r->samples / s->step_seconds);
    put_losses(line, r);
    put_task(line, vlm_task_of(s->config), tally);
    vlm_text_put(line, "  norm %.2f", r->grad_norm);
    if (s->config->moe.v_layers.n + s->config->moe.t_layers.n && isnan(r->reconstruction))
        vlm_text_put(line, "  dropped %.1f %%", 100.0 * r->dropped);
    draw(s, line);
}

void vlm_screen_show(void *user, const char *kind, const vlmoe_step_report *r,
                     const vlm_tally *tally)
{
    vlm_screen *s = user;
    if (!strcmp(kind, "train")) {
        show_train(s, r, tally);
        return;
    }
    vlm_text line = {0};
    vlm_screen_end_line(s);
    put_losses(&line, r);
    put_task(&line, vlm_task_of(s->config), tally);
    printf("held out after step %lld: %s\n", (long long)r->step, line.data ? line.data : "");
    fflush(stdout);
    vlm_text_free(&line);
}

void vlm_screen_saved(void *user, const char *folder)
{
    vlm_screen_end_line(user);
    printf("saved %s\n", folder);
    fflush(stdout);
}

void vlm_screen_log(void *user, int level, const char *area, const char *text)
{
    static const char *const names[] = {"error", "warning", "note", "debug"};
    vlm_screen_end_line(user);
    fprintf(stderr, "%s: %s: %s\n", names[level], area, text);
}
