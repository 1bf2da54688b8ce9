/* vlmoe-inspect PATH: a checkpoint folder at a glance. */
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "base_json.h"
#include "cli_common.h"
#include "cli_inspect.h"
#include "train_checkpoint.h"

enum { GROUP_NAME = 160, MAX_CONFIG = 1 << 24 };

/* ---- files ---- */

static vlmoe_status print_files(const char *path, vlmoe_error *error)
{
    vlm_ckpt *files = NULL;
    uint64_t all = 0;
    VLM_TRY(vlm_ckpt_open(path, false, &files, error));
    int64_t n = vlm_ckpt_count(files);
    vlmoe_status st = VLMOE_OK;
    for (int64_t i = 0; i < n && !st; i++) {
        vlm_map map = {0};
        st = vlm_map_open(vlm_ckpt_path(files, vlm_ckpt_name(files, i)), &map, error);
        if (st) break;
        printf("  %-28s %14zu bytes\n", vlm_ckpt_name(files, i), map.bytes);
        all += map.bytes;
        vlm_map_close(&map);
    }
    vlm_ckpt_close(files);
    if (!st) printf("  %-28s %14llu bytes\n", "together", (unsigned long long)all);
    return st;
}

/* ---- parameters by group ---- */

/* Tensors of one kind of place: "blocks.*.ffn_v.experts". */
typedef struct group {
    char name[GROUP_NAME];
    int64_t tensors, numbers;
} group;

typedef struct groups {
    int n;
    group at[256]; /* kinds of places, not tensors: a model has some thirty */
} groups;

static bool is_one_of(const char *part, size_t n, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == n && !strncmp(*names, part, n)) return true;
    return false;
}

/* The group of a tensor: prefix, then a list's name with * for the number and the part in it, or
 * the first part alone. */
static void group_name(const char *tensor, char out[GROUP_NAME])
{
    static const char *const prefixes[] = {"image_tokeniser", NULL};
    static const char *const lists[] = {"blocks", "encoder", "decoder", NULL};
    static const char *const kinds[] = {"router", "experts", NULL};
    int left = 1; /* parts still wanted */
    size_t used = 0;
    out[0] = 0;
    for (const char *part = tensor; *part && left > 0;) {
        size_t n = strcspn(part, ".");
        bool is_number = n > 0 && strspn(part, "0123456789") == n;
        if (is_one_of(part, n, lists)) left = 3;
        if (!is_one_of(part, n, prefixes)) left--;
        used += (size_t)snprintf(out + used, GROUP_NAME - used, "%s%.*s", used ? "." : "",
                                 is_number ? 1 : (int)VLM_MIN(n, 40), is_number ? "*" : part);
        if (used >= GROUP_NAME - 1) return;
        part += n + (part[n] == '.');
        if (!left && strchr(out, '*') && is_one_of(part, strcspn(part, "."), kinds)) left = 1;
    }
}

static int64_t numbers_in(const vlm_st_tensor *tensor)
{
    size_t size = vlm_st_dtype_size(tensor->dtype);
    return size ? (int64_t)(tensor->bytes / size) : 0;
}

static void add_tensor(groups *g, const vlm_st_tensor *tensor)
{
    char name[GROUP_NAME];
    int i = 0;
    group_name(tensor->name, name);
    while (i < g->n && strcmp(g->at[i].name, name)) i++;
    if (i == VLM_COUNT(g->at)) i--; /* the last one takes what is too much */
    if (i == g->n) {
        memcpy(g->at[i].name, name, sizeof name);
        g->n++;
    }
    g->at[i].tensors++;
    g->at[i].numbers += numbers_in(tensor);
}

static vlmoe_status print_parameters(const char *path, vlmoe_error *error)
{
    vlm_st *file = NULL;
    groups *g = vlm_alloc(sizeof *g);
    if (!g) return vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a table");
    vlmoe_status st = vlm_st_open(path, &file, error);
    int64_t tensors = 0, numbers = 0;
    for (int64_t i = 0; !st && i < vlm_st_count(file); i++) add_tensor(g, vlm_st_get(file, i));
    for (int i = 0; i < g->n; i++) {
        tensors += g->at[i].tensors;
        numbers += g->at[i].numbers;
    }
    for (int i = 0; i < g->n; i++)
        printf("  %-40s %7lld tensors %14lld  %5.1f %%\n", g->at[i].name,
               (long long)g->at[i].tensors, (long long)g->at[i].numbers,
               100.0 * (double)g->at[i].numbers / (double)VLM_MAX(numbers, 1));
    if (!st)
        printf("  %-40s %7lld tensors %14lld\n", "together", (long long)tensors,
               (long long)numbers);
    vlm_st_close(file);
    vlm_free(g);
    return st;
}

/* ---- views ---- */

static vlmoe_status print_checkpoint(const char *path, vlmoe_error *error)
{
    vlm_checkpoint c = {0};
    printf("%s\nfiles\n", path);
    VLM_TRY(print_files(path, error));
    fflush(stdout);
    VLM_TRY(vlm_checkpoint_open(path, &c, error));
    printf("  every checksum matches\n");
    printf("task %s, step %lld of %lld, written by libvlmoe %s on %s, numbers %016llx\n",
           c.state.task, (long long)c.state.step, (long long)c.config->run.steps, c.state.library,
           c.state.device, (unsigned long long)vlm_config_hash(c.config));
    const char *model = vlm_ckpt_path(c.files, "model.safetensors");
    vlmoe_status st = VLMOE_OK;
    if (model) {
        printf("parameters\n");
        st = print_parameters(model, error);
    }
    vlm_checkpoint_close(&c);
    return st;
}

int vlm_cli_inspect_checkpoint(const char *tool, const char *path)
{
    vlmoe_error error = {VLMOE_OK, ""};
    return print_checkpoint(path, &error) ? vlm_cli_report(tool, &error) : CLI_OK;
}

static vlmoe_status config_of_dump(const char *path, vlmoe_error *error)
{
    vlm_st *file = NULL;
    VLM_TRY(vlm_st_open(path, &file, error));
    const char *config = vlm_st_metadata(file, "config");
    vlmoe_status st =
        config ? VLMOE_OK : vlm_fail(error, VLMOE_E_FORMAT, "%s holds no config", path);
    if (config) printf("%s", config);
    vlm_st_close(file);
    return st;
}

static vlmoe_status config_of_checkpoint(const char *path, vlmoe_error *error)
{
    char *inside = vlm_path_join(path, "config.json"), *text = NULL;
    size_t bytes = 0;
    vlmoe_status st = inside ? vlm_file_read(inside, MAX_CONFIG, &text, &bytes, error)
                             : vlm_fail(error, VLMOE_E_NOMEM, "out of memory for a path");
    if (!st) fwrite(text, 1, bytes, stdout);
    vlm_free(text);
    vlm_free(inside);
    return st;
}

int vlm_cli_inspect_config(const char *tool, const char *path)
{
    vlmoe_error error = {VLMOE_OK, ""};
    vlmoe_status st =
        vlm_path_is_dir(path) ? config_of_checkpoint(path, &error) : config_of_dump(path, &error);
    return st ? vlm_cli_report(tool, &error) : CLI_OK;
}
