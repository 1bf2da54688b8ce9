/* The only file that knows libjpeg (libjpeg-turbo). Its errors come back as statuses, and so does
 * every warning that means missing or damaged picture data. Twin: none_jpeg.c. */
#include "data_codec.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>
#include <jerror.h>

/* A progressive file may ask for any number of passes over the picture; real ones have about ten.
 */
enum { SCANS_MAX = 200 };

typedef struct decoder {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_memory_mgr memory, *own_memory; /* ours, and the library's for what it keeps */
    struct jvirt_barray_control *arrays;
    vlm_workspace *workspace;
    jmp_buf out_of_it;
    vlmoe_status status;
    char text[JMSG_LENGTH_MAX];
} decoder;

static void give_up(j_common_ptr info)
{
    decoder *d = info->client_data;
    d->status = d->errors.msg_code == JERR_OUT_OF_MEMORY ? VLMOE_E_NOMEM : VLMOE_E_FORMAT;
    d->errors.format_message(info, d->text);
    longjmp(d->out_of_it, 1);
}

/* level -1 is a warning. These say that a file is unusual; the others that data is lost. */
static void take_message(j_common_ptr info, int level)
{
    if (level >= 0) return;
    switch (info->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_PROGRESSION:
        return;
    default:
        give_up(info);
    }
}

static void drop_message(j_common_ptr info)
{
    (void)info;
}

static void count_scans(j_common_ptr info)
{
    decoder *d = info->client_data;
    if (!info->is_decompressor || d->info.input_scan_number <= SCANS_MAX) return;
    d->status = VLMOE_E_FORMAT;
    snprintf(d->text, sizeof d->text, "more than %d scans", SCANS_MAX);
    longjmp(d->out_of_it, 1);
}

/* ---- Memory: the workspace instead of malloc ---- */

/* Coefficients of a whole picture, which files of several scans need. */
struct jvirt_barray_control {
    JBLOCKARRAY rows; /* NULL until realised */
    JDIMENSION n_rows, row_blocks, most_at_once;
    struct jvirt_barray_control *next;
};

static void *take(j_common_ptr info, size_t n, size_t bytes)
{
    decoder *d = info->client_data;
    void *block = vlm_workspace_take(d->workspace, n, bytes);
    if (!block) ERREXIT1(info, JERR_OUT_OF_MEMORY, 0);
    return block;
}

static void *take_block(j_common_ptr info, int pool, size_t bytes)
{
    (void)pool; /* both pools live until the next picture */
    return take(info, 1, bytes);
}

/* Rows of `bytes` each. The library's vector code reads and writes up to 64 bytes at a time. */
static void *take_rows(j_common_ptr info, size_t bytes, size_t n_rows)
{
    const size_t stride = vlm_round_up(bytes, 64);
    char **rows = take(info, n_rows, sizeof *rows), *block = take(info, n_rows + 1, stride);
    for (size_t i = 0; i < n_rows; i++) rows[i] = block + i * stride;
    return rows;
}

static JSAMPARRAY take_samples(j_common_ptr info, int pool, JDIMENSION n, JDIMENSION n_rows)
{
    (void)pool;
    return take_rows(info, (size_t)n * sizeof(JSAMPLE), n_rows);
}

static JBLOCKARRAY take_blocks(j_common_ptr info, int pool, JDIMENSION n, JDIMENSION n_rows)
{
    (void)pool;
    return take_rows(info, (size_t)n * sizeof(JBLOCK), n_rows);
}

static jvirt_sarray_ptr no_virtual_samples(j_common_ptr info, int pool, boolean zero, JDIMENSION n,
                                           JDIMENSION n_rows, JDIMENSION most)
{
    (void)pool, (void)zero, (void)n, (void)n_rows, (void)most;
    ERREXIT(info, JERR_NOT_COMPILED); /* only colour maps ask for it */
    return NULL;
}

static JSAMPARRAY no_samples_access(j_common_ptr info, jvirt_sarray_ptr array, JDIMENSION start,
                                    JDIMENSION n_rows, boolean writes)
{
    (void)array, (void)start, (void)n_rows, (void)writes;
    ERREXIT(info, JERR_NOT_COMPILED);
    return NULL;
}

static jvirt_barray_ptr virtual_blocks(j_common_ptr info, int pool, boolean zero, JDIMENSION n,
                                       JDIMENSION n_rows, JDIMENSION most)
{
    (void)pool, (void)zero; /* cleared in any case */
    decoder *d = info->client_data;
    jvirt_barray_ptr array = take(info, 1, sizeof *array);
    *array = (struct jvirt_barray_control){NULL, n_rows, n, most, d->arrays};
    d->arrays = array;
    return array;
}

static void realise_arrays(j_common_ptr info)
{
    decoder *d = info->client_data;
    for (jvirt_barray_ptr array = d->arrays; array; array = array->next) {
        if (array->rows) continue;
        JBLOCKARRAY rows = take_blocks(info, 0, array->row_blocks, array->n_rows);
        for (JDIMENSION i = 0; i < array->n_rows; i++)
            memset(rows[i], 0, array->row_blocks * sizeof(JBLOCK));
        array->rows = rows;
    }
}

static JBLOCKARRAY access_blocks(j_common_ptr info, jvirt_barray_ptr array, JDIMENSION start,
                                 JDIMENSION n_rows, boolean writes)
{
    (void)writes;
    if (!array->rows || n_rows > array->most_at_once || start > array->n_rows ||
        n_rows > array->n_rows - start)
        ERREXIT(info, JERR_BAD_VIRTUAL_ACCESS);
    return array->rows + start;
}

static void free_nothing(j_common_ptr info, int pool)
{
    (void)info, (void)pool;
}

static void destroy_nothing(j_common_ptr info)
{
    (void)info;
}

/* ---- Decoder: one per workspace ---- */

static void drop(void *state)
{
    decoder *d = state;
    if (d->own_memory) {
        d->info.mem = d->own_memory;
        jpeg_destroy_decompress(&d->info);
    }
    vlm_free(d);
}

/* Leaves by longjmp when the library has no memory. */
static void make(decoder *d)
{
    d->info.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = give_up;
    d->errors.emit_message = take_message;
    d->errors.output_message = drop_message;
    d->info.client_data = d;
    jpeg_create_decompress(&d->info); /* what it takes here lives as long as the decoder */
    d->own_memory = d->info.mem;
    d->memory = (struct jpeg_memory_mgr){
        .alloc_small = take_block,
        .alloc_large = take_block,
        .alloc_sarray = take_samples,
        .alloc_barray = take_blocks,
        .request_virt_sarray = no_virtual_samples,
        .request_virt_barray = virtual_blocks,
        .realize_virt_arrays = realise_arrays,
        .access_virt_sarray = no_samples_access,
        .access_virt_barray = access_blocks,
        .free_pool = free_nothing,
        .self_destruct = destroy_nothing,
        .max_memory_to_use = d->own_memory->max_memory_to_use,
        .max_alloc_chunk = d->own_memory->max_alloc_chunk,
    };
    d->info.mem = &d->memory;
    d->progress.progress_monitor = count_scans;
    d->info.progress = &d->progress;
}

/* The workspace's decoder, made on first use; NULL: no memory. */
static decoder *decoder_of(vlm_workspace *workspace)
{
    vlm_workspace_slot *slot = vlm_workspace_decoder(workspace);
    decoder *d = slot->state;
    if (d) return d;
    d = vlm_alloc(sizeof *d);
    if (!d) return NULL;
    d->workspace = workspace;
    if (setjmp(d->out_of_it)) {
        jpeg_destroy_decompress(&d->info);
        vlm_free(d);
        return NULL;
    }
    make(d);
    *slot = (vlm_workspace_slot){d, drop};
    return d;
}

/* To the end of the header. Nothing of the picture before may be left: its tables lay in memory that
 * is free again, and a file without tables of its own must not borrow another's. */
static void start(decoder *d, const unsigned char *data, size_t bytes)
{
    struct jpeg_decompress_struct *info = &d->info;
    jpeg_abort_decompress(info);
    for (int i = 0; i < NUM_QUANT_TBLS; i++) info->quant_tbl_ptrs[i] = NULL;
    for (int i = 0; i < NUM_HUFF_TBLS; i++)
        info->dc_huff_tbl_ptrs[i] = info->ac_huff_tbl_ptrs[i] = NULL;
    info->src = NULL;
    d->arrays = NULL;
    jpeg_mem_src(info, data, bytes);
    jpeg_read_header(info, TRUE);
}

/* Adobe stores CMYK inverted, and every reader takes it so: with c, m, y, k the stored values,
 * red = k * c / 255, rounded as Pillow does. row [width, 4] -> out [width, 3] */
static void cmyk_row(const uint8_t *row, int64_t width, uint8_t *out)
{
    for (int64_t x = 0; x < width; x++) {
        unsigned k = row[x * 4 + 3];
        for (int c = 0; c < 3; c++) {
            unsigned product = (255u - row[x * 4 + c]) * k + 128;
            out[x * 3 + c] = (uint8_t)(k - (((product >> 8) + product) >> 8));
        }
    }
}

/* ---- Rows. All of this leaves by longjmp when the file is bad. ---- */

/* Until row `end` is read, each to its place from column x on. */
static void read_rows(decoder *d, const vlm_image_file *file, int64_t x, int64_t end,
                      uint8_t *pixels)
{
    while (d->info.output_scanline < end) {
        JSAMPROW row = pixels + ((int64_t)d->info.output_scanline * file->width + x) * 3;
        jpeg_read_scanlines(&d->info, &row, 1);
    }
}

static void read_inks(decoder *d, const vlm_image_file *file, uint8_t *pixels)
{
    uint8_t *inks = take((j_common_ptr)&d->info, (size_t)file->width, 4);
    for (int64_t y = 0; y < file->height; y++) {
        jpeg_read_scanlines(&d->info, &inks, 1);
        cmyk_row(inks, file->width, pixels + y * file->width * 3);
    }
}

#if defined(LIBJPEG_TURBO_VERSION_NUMBER) && LIBJPEG_TURBO_VERSION_NUMBER >= 2001000
/* The part, and around it a block of pixels more on each side, because chroma is interpolated across
 * and the edge of what is decoded is treated like the edge of a picture; one block above, where
 * reading starts afresh. The codes of the rest are read but not turned into pixels, so a file that
 * is damaged anywhere fails whatever the part. */
static void read_part(decoder *d, const vlm_image_file *file, const vlm_box *part, uint8_t *pixels)
{
    const int64_t block_x = d->info.max_h_samp_factor * DCTSIZE;
    const int64_t block_y = d->info.max_v_samp_factor * DCTSIZE;
    const int64_t left = VLM_MAX(part->x - block_x, 0);
    const int64_t right = VLM_MIN(part->x + part->width + block_x, file->width);
    const int64_t above = (part->y / block_y - 1) * block_y, end = part->y + part->height;
    JDIMENSION x = (JDIMENSION)left, width = (JDIMENSION)(right - left);
    jpeg_crop_scanline(&d->info, &x, &width); /* to whole blocks */
    if (above > 0) jpeg_skip_scanlines(&d->info, (JDIMENSION)above);
    read_rows(d, file, x, end, pixels);
    /* Skipping to the very end would not look at what is skipped. */
    if (end < file->height - 1) jpeg_skip_scanlines(&d->info, (JDIMENSION)(file->height - 1 - end));
    read_rows(d, file, x, file->height, pixels);
}

static bool can_cut(decoder *d)
{
    return !jpeg_has_multiple_scans(&d->info) && !d->info.arith_code;
}
#else
static void read_part(decoder *d, const vlm_image_file *file, const vlm_box *part, uint8_t *pixels)
{
    (void)part;
    read_rows(d, file, 0, file->height, pixels);
}

static bool can_cut(decoder *d)
{
    (void)d;
    return false;
}
#endif

static void read_picture(decoder *d, const vlm_image_file *file, const vlm_box *part,
                         uint8_t *pixels)
{
    bool inks = d->info.jpeg_color_space == JCS_CMYK || d->info.jpeg_color_space == JCS_YCCK;
    bool whole = !part || (part->width == file->width && part->height == file->height);
    d->info.out_color_space = inks ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&d->info);
    if (inks) read_inks(d, file, pixels);
    else if (!whole && can_cut(d)) read_part(d, file, part, pixels);
    else read_rows(d, file, 0, file->height, pixels);
    jpeg_finish_decompress(&d->info);
}

static vlmoe_status fail_decoder(const decoder *d, vlmoe_error *error)
{
    return vlm_fail(error, d->status, "%s", d->text);
}

vlmoe_status vlm_jpeg_open(vlm_workspace *workspace, const unsigned char *data, size_t bytes,
                           vlm_size *out, vlmoe_error *error)
{
    decoder *d = decoder_of(workspace);
    if (!d) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a JPEG decoder");
    if (setjmp(d->out_of_it)) return fail_decoder(d, error);
    start(d, data, bytes);
    *out = (vlm_size){d->info.image_width, d->info.image_height};
    return VLMOE_OK;
}

vlmoe_status vlm_jpeg_read(const vlm_image_file *file, const vlm_box *part, uint8_t *pixels,
                           vlmoe_error *error)
{
    decoder *d = vlm_workspace_decoder(file->workspace)->state; /* as vlm_jpeg_open left it */
    if (setjmp(d->out_of_it)) return fail_decoder(d, error);
    read_picture(d, file, part, pixels);
    return VLMOE_OK;
}
