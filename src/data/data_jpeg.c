/* The only file that knows libjpeg (libjpeg-turbo). Its errors come back as statuses, and so does
 * every warning that means missing or damaged picture data. Twin: none_jpeg.c. */
#include "data_codec.h"

#include <setjmp.h>
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>

/* A progressive file may ask for any number of passes over the picture; real ones have about ten.
 */
enum { SCANS_MAX = 200 };

typedef struct decoder {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
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

/* After this, d->info is to be destroyed. */
static void start(decoder *d, const unsigned char *data, size_t bytes)
{
    d->info.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = give_up;
    d->errors.emit_message = take_message;
    d->errors.output_message = drop_message;
    d->info.client_data = d;
    jpeg_create_decompress(&d->info);
    d->progress.progress_monitor = count_scans;
    d->info.progress = &d->progress;
    jpeg_mem_src(&d->info, data, bytes);
    jpeg_read_header(&d->info, TRUE);
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

/* Everything between header and end. Leaves by longjmp when the file is bad. */
static void read_rows(decoder *d, vlm_image *out, uint8_t *cmyk)
{
    d->info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&d->info);
    while (d->info.output_scanline < d->info.output_height) {
        uint8_t *target = out->pixels + (int64_t)d->info.output_scanline * out->width * 3;
        JSAMPROW row = cmyk ? cmyk : target;
        jpeg_read_scanlines(&d->info, &row, 1);
        if (cmyk) cmyk_row(cmyk, out->width, target);
    }
    jpeg_finish_decompress(&d->info);
}

static vlmoe_status fail_decoder(const decoder *d, vlmoe_error *error)
{
    return vlm_fail(error, d->status, "%s", d->text);
}

vlmoe_status vlm_jpeg_probe(const unsigned char *data, size_t bytes, vlm_size *out,
                            vlmoe_error *error)
{
    decoder d = {0};
    if (setjmp(d.out_of_it)) {
        jpeg_destroy_decompress(&d.info);
        return fail_decoder(&d, error);
    }
    start(&d, data, bytes);
    *out = (vlm_size){d.info.image_width, d.info.image_height};
    jpeg_destroy_decompress(&d.info);
    return VLMOE_OK;
}

vlmoe_status vlm_jpeg_decode(const unsigned char *data, size_t bytes, vlm_image *out,
                             vlmoe_error *error)
{
    decoder d = {0};
    uint8_t *cmyk = vlm_alloc((size_t)out->width * 4); /* one row; small, so taken in any case */
    if (!cmyk) return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a row of pixels");
    if (setjmp(d.out_of_it)) {
        jpeg_destroy_decompress(&d.info);
        vlm_free(cmyk);
        return fail_decoder(&d, error);
    }
    start(&d, data, bytes);
    VLM_ASSERT(d.info.image_width == out->width && d.info.image_height == out->height);
    bool inks = d.info.jpeg_color_space == JCS_CMYK || d.info.jpeg_color_space == JCS_YCCK;
    read_rows(&d, out, inks ? cmyk : NULL);
    jpeg_destroy_decompress(&d.info);
    vlm_free(cmyk);
    return VLMOE_OK;
}
