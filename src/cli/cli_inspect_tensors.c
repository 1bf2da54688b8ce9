/* vlmoe-inspect: tensors of safetensors files, by name and shape or with what is in them. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base_file.h"
#include "cli_common.h"
#include "cli_inspect.h"

enum { SHAPE_TEXT = 24 * VLM_ST_MAX_RANK };

/* ---- figures of one tensor ---- */

typedef struct figures {
    int64_t n, n_nan, n_infinite; /* all; of them not counted below */
    double mean, square, low, high;
} figures;

/* Element i as a double; data may be unaligned. */
static double element(const vlm_st_tensor *t, int64_t i)
{
    const char *at = (const char *)t->data + (size_t)i * vlm_st_dtype_size(t->dtype);
    union {
        float f32;
        double f64;
        int32_t i32;
        int64_t i64;
        uint32_t bits;
        uint16_t bf16;
    } value;
    memcpy(&value, at, vlm_st_dtype_size(t->dtype));
    switch (t->dtype) {
    case VLMOE_F32:
        return (double)value.f32;
    case VLMOE_F64:
        return value.f64;
    case VLMOE_I32:
        return value.i32;
    case VLM_ST_I64:
        return (double)value.i64;
    case VLMOE_BF16:
        value.bits = (uint32_t)value.bf16 << 16;
        return (double)value.f32;
    default:
        return (uint8_t)*at;
    }
}

/* Mean and deviation in one pass (Welford 1962). */
static figures measure(const vlm_st_tensor *t)
{
    figures f = {.low = INFINITY, .high = -INFINITY};
    size_t size = vlm_st_dtype_size(t->dtype);
    int64_t finite = 0;
    f.n = size ? (int64_t)(t->bytes / size) : 0;
    for (int64_t i = 0; i < f.n; i++) {
        double x = element(t, i);
        if (isnan(x)) f.n_nan++;
        else if (isinf(x)) f.n_infinite++;
        else {
            double step = x - f.mean;
            f.mean += step / (double)++finite;
            f.square += step * (x - f.mean);
            f.low = fmin(f.low, x);
            f.high = fmax(f.high, x);
        }
    }
    f.square = finite ? sqrt(f.square / (double)finite) : NAN;
    if (!finite) f.mean = f.low = f.high = NAN;
    return f;
}

/* ---- lines ---- */

static void shape_text(const vlm_st_tensor *t, char out[SHAPE_TEXT])
{
    size_t used = (size_t)snprintf(out, SHAPE_TEXT, "[");
    for (int i = 0; i < t->rank; i++)
        used += (size_t)snprintf(out + used, SHAPE_TEXT - used, "%s%lld", i ? ", " : "",
                                 (long long)t->dims[i]);
    snprintf(out + used, SHAPE_TEXT - used, "]");
}

static void print_tensor(const vlm_st_tensor *t, bool wants_figures)
{
    char shape[SHAPE_TEXT];
    shape_text(t, shape);
    printf("  %-48s %-4s %-18s", t->name, vlm_st_dtype_name(t->dtype), shape);
    if (!wants_figures) {
        printf(" %12zu bytes\n", t->bytes);
        return;
    }
    figures f = measure(t);
    printf(" %12.5g %11.5g %12.5g %12.5g %6lld", f.mean, f.square, f.low, f.high,
           (long long)f.n_nan);
    if (f.n_infinite) printf("  and %lld infinite", (long long)f.n_infinite);
    printf("\n");
}

static void print_metadata(const vlm_st *file)
{
    static const char *const keys[] = {"format", "checkpoint", "step",   "grad_norm",
                                       "lr",     "library",    "device", "started"};
    for (int i = 0; i < VLM_COUNT(keys); i++) {
        const char *value = vlm_st_metadata(file, keys[i]);
        if (value) printf("  %s: %s\n", keys[i], value);
    }
}

static vlmoe_status print_file(const char *path, bool wants_figures, vlmoe_error *error)
{
    vlm_st *file = NULL;
    size_t bytes = 0;
    VLM_TRY(vlm_st_open(path, &file, error));
    printf("%s\n", path);
    print_metadata(file);
    if (wants_figures)
        printf("  %-48s %-4s %-18s %12s %11s %12s %12s %6s\n", "tensor", "type", "shape", "mean",
               "deviation", "min", "max", "NaN");
    for (int64_t i = 0; i < vlm_st_count(file); i++) {
        print_tensor(vlm_st_get(file, i), wants_figures);
        bytes += vlm_st_get(file, i)->bytes;
    }
    printf("  %lld tensors, %zu bytes\n", (long long)vlm_st_count(file), bytes);
    vlm_st_close(file);
    return VLMOE_OK;
}

int vlm_cli_inspect_file(const char *tool, const char *path, bool wants_figures)
{
    vlmoe_error error = {VLMOE_OK, ""};
    return print_file(path, wants_figures, &error) ? vlm_cli_report(tool, &error) : CLI_OK;
}

int vlm_cli_inspect_tensors(const char *tool, const char *path)
{
    static const char *const names[] = {"model.safetensors", "state.safetensors"};
    int code = CLI_OK;
    for (int i = 0; i < VLM_COUNT(names) && code == CLI_OK; i++) {
        char *file = vlm_path_join(path, names[i]);
        if (!file) return CLI_NOMEM;
        bool is_needed = i == 0; /* only checkpoints with a code book have the second */
        if (is_needed || vlm_path_exists(file)) code = vlm_cli_inspect_file(tool, file, true);
        vlm_free(file);
    }
    return code;
}
