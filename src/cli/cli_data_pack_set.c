/* vlmoe-data pack --format: labelled sets to shards, and what became of their rows. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "cli_common.h"
#include "cli_data_pack.h"
#include "data_pack.h"

static vlmoe_status check_format(const char *format, vlmoe_error *error)
{
    char known[200] = "";
    for (int i = 0; vlm_rows_format(i, NULL); i++) {
        const char *name = vlm_rows_format(i, NULL);
        if (!strcmp(name, format)) return VLMOE_OK;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", name);
    }
    return vlm_fail(error, VLMOE_E_ARG, "--format '%s': expected one of %s", format, known);
}

static void print_note(const vlm_ledger *ledger, vlm_note note)
{
    const int64_t n = ledger->notes[note].n;
    if (!n) return;
    printf("  %lld %s: %s: ", (long long)n, vlm_note_leaves_out(note) ? "left out" : "noted",
           vlm_note_text(note));
    for (int i = 0; i < VLM_LEDGER_NAMES && i < n; i++)
        printf("%s%s", i ? "; " : "", ledger->notes[note].names[i]);
    printf("%s\n", n > VLM_LEDGER_NAMES ? "; ..." : "");
}

static void print_ledger(const vlm_cli_pack *options, const vlm_ledger *ledger,
                         const vlm_pack_result *result, const vlm_classes *classes)
{
    const char *out = options->is_dry ? "a set" : options->out;
    printf("%lld rows read, ", (long long)ledger->n_read);
    if (options->skip)
        printf("%lld passed over, ", (long long)VLM_MIN(options->skip, ledger->n_read));
    printf("%lld %s %s", (long long)ledger->n_packed, options->is_dry ? "fit for" : "packed in",
           out);
    if (classes->n) printf(", %lld classes", (long long)classes->n);
    if (result->n_shared)
        printf(", %lld pictures used %lld times", (long long)result->n_pictures,
               (long long)result->n_shared);
    printf("\n");
}

static vlmoe_status pack(const vlm_cli_pack *options, vlm_ledger *ledger, vlmoe_error *error)
{
    vlm_rows_options from = options->rows;
    vlm_pack_options to = {.in = from.in,
                           .out = options->is_dry ? NULL : options->out,
                           .shards = VLM_SHARD_OPTIONS_INIT,
                           .limits = VLM_IMAGE_OPTIONS_INIT,
                           .skip = options->skip,
                           .limit = options->limit};
    vlm_pack_result result = {0};
    vlm_rows *rows = NULL;
    to.shards.shard_bytes = (uint64_t)options->shard_mib << 20;
    to.limits.max_pixels = options->max_pixels;
    to.has_pictures = !options->is_dry || from.images;
    VLM_TRY(check_format(from.format, error));
    char *folder = vlm_path_dir(from.in);
    if (!folder) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a path");
    if (!from.images && vlm_rows_read_images(from.format)) from.images = folder;
    vlmoe_status st = vlm_rows_open(&from, ledger, &rows, error);
    if (!st) st = vlm_pack(rows, ledger, &to, &result, error);
    if (!st) print_ledger(options, ledger, &result, vlm_rows_classes(rows));
    for (int note = 0; note < VLM_NOTES && (!st || ledger->goes_on); note++)
        print_note(ledger, note); /* after a failure these may be its reason */
    vlm_rows_close(rows);
    vlm_free(folder);
    return st;
}

/* What a good pack has to say besides. */
static int judge(const char *tool, const vlm_cli_pack *options, const vlm_ledger *ledger)
{
    const int64_t n = vlm_ledger_faults(ledger);
    if (!ledger->n_packed) fprintf(stderr, "%s: no row is fit\n", tool);
    else if (n && !options->skips)
        fprintf(stderr, "%s: %lld faults: pack will stop at the first without --missing skip\n",
                tool, (long long)n);
    else return CLI_OK;
    return CLI_FORMAT;
}

int vlm_cli_data_pack_set(const char *tool, const vlm_cli_pack *options)
{
    vlm_ledger *ledger = vlm_alloc(sizeof *ledger);
    vlmoe_error error = {0};
    if (!ledger) {
        vlm_fail(&error, VLMOE_E_NOMEM, "no memory for a ledger");
        return vlm_cli_report(tool, &error);
    }
    ledger->goes_on = options->skips || options->is_dry;
    int code =
        pack(options, ledger, &error) ? vlm_cli_report(tool, &error) : judge(tool, options, ledger);
    if (error.status && !ledger->goes_on && vlm_ledger_faults(ledger))
        fprintf(stderr, "%s: --dry-run counts all such rows, --missing skip leaves them out\n",
                tool);
    vlm_free(ledger);
    return code;
}
