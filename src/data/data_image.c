/* Decoding as a whole: what kind of file it is, whether its header is acceptable, which decoder
 * gets it. */
#include "data_codec.h"

#include <string.h>

/* check NULL: the decoder finds out by itself. */
typedef struct kind_row {
    const char *name, *extension;
    vlm_probe_fn *probe;
    vlm_check_fn *check;
} kind_row;
static const kind_row kind_rows[VLM_IMAGE_KINDS] = {
    [VLM_IMAGE_UNKNOWN] = {"unknown", "bin", NULL, NULL},
    [VLM_IMAGE_JPEG] = {"JPEG", "jpg", vlm_jpeg_probe, NULL},
    [VLM_IMAGE_PNG] = {"PNG", "png", vlm_png_probe, vlm_png_check},
    [VLM_IMAGE_GIF] = {"GIF", "gif", vlm_gif_probe, vlm_gif_check},
    [VLM_IMAGE_BMP] = {"BMP", "bmp", vlm_bmp_probe, vlm_bmp_check},
    [VLM_IMAGE_PNM] = {"PNM", "ppm", vlm_pnm_probe, vlm_pnm_check},
    [VLM_IMAGE_WEBP] = {"WebP", "webp", NULL, NULL},
};

const char *vlm_image_kind_name(vlm_image_kind kind)
{
    return kind_rows[(unsigned)kind < VLM_IMAGE_KINDS ? kind : VLM_IMAGE_UNKNOWN].name;
}

const char *vlm_image_kind_extension(vlm_image_kind kind)
{
    return kind_rows[(unsigned)kind < VLM_IMAGE_KINDS ? kind : VLM_IMAGE_UNKNOWN].extension;
}

vlm_image_kind vlm_image_sniff(const void *data, size_t bytes)
{
    const unsigned char *d = data;
    if (bytes >= 3 && !memcmp(d, "\xff\xd8\xff", 3)) return VLM_IMAGE_JPEG;
    if (bytes >= 8 && !memcmp(d, "\x89PNG\r\n\x1a\n", 8)) return VLM_IMAGE_PNG;
    if (bytes >= 6 && (!memcmp(d, "GIF87a", 6) || !memcmp(d, "GIF89a", 6))) return VLM_IMAGE_GIF;
    if (bytes >= 12 && !memcmp(d, "RIFF", 4) && !memcmp(d + 8, "WEBP", 4)) return VLM_IMAGE_WEBP;
    if (bytes >= 14 && !memcmp(d, "BM", 2)) return VLM_IMAGE_BMP;
    if (bytes >= 8 && d[0] == 'P' && (d[1] == '5' || d[1] == '6') && strchr(" \t\r\n", d[2]) &&
        d[2])
        return VLM_IMAGE_PNM;
    return VLM_IMAGE_UNKNOWN;
}

vlmoe_status vlm_image_create(int64_t width, int64_t height, vlm_image *out, vlmoe_error *error)
{
    if (width < 1 || height < 1 || width > VLM_IMAGE_SIDE_MAX || height > VLM_IMAGE_SIDE_MAX)
        return vlm_fail(error, VLMOE_E_ARG, "a picture of %lld x %lld; a side is 1..%d pixels",
                        (long long)width, (long long)height, VLM_IMAGE_SIDE_MAX);
    uint8_t *pixels = vlm_alloc((size_t)(width * height * 3));
    if (!pixels)
        return vlm_fail(error, VLMOE_E_NOMEM, "no memory for a picture of %lld x %lld pixels",
                        (long long)width, (long long)height);
    *out = (vlm_image){width, height, pixels};
    return VLMOE_OK;
}

void vlm_image_free(vlm_image *image)
{
    vlm_free(image->pixels);
    *image = (vlm_image){0};
}

/* Header only. */
static vlmoe_status probe(vlm_image_kind kind, const unsigned char *data, size_t bytes,
                          vlm_size *out, vlmoe_error *error)
{
    if (kind == VLM_IMAGE_WEBP)
        return vlm_fail(error, VLMOE_E_UNSUPPORTED,
                        "WebP pictures are not read; convert them to PNG or JPEG");
    if (kind == VLM_IMAGE_UNKNOWN)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "not a picture: %llu bytes that do not begin like JPEG, PNG, GIF, BMP or "
                        "binary PNM",
                        (unsigned long long)bytes);
    vlm_size size = {0};
    vlmoe_status st = kind_rows[kind].probe(data, bytes, &size, error);
    if (!st && (size.width < 1 || size.height < 1 || size.width > VLM_IMAGE_SIDE_MAX ||
                size.height > VLM_IMAGE_SIDE_MAX))
        st = vlm_fail(error, VLMOE_E_FORMAT, "header says %lld x %lld pixels; a side is 1..%d",
                      (long long)size.width, (long long)size.height, VLM_IMAGE_SIDE_MAX);
    if (st) vlm_fail_in(error, "%s picture", vlm_image_kind_name(kind));
    else *out = size;
    return st;
}

vlmoe_status vlm_image_probe(const void *data, size_t bytes, int64_t *width, int64_t *height,
                             vlmoe_error *error)
{
    vlm_size size = {0, 0};
    VLM_TRY(probe(vlm_image_sniff(data, bytes), data, bytes, &size, error));
    *width = size.width;
    *height = size.height;
    return VLMOE_OK;
}

static vlmoe_status decode_kind(vlm_image_kind kind, const unsigned char *data, size_t bytes,
                                const uint8_t *background, vlm_image *out, vlmoe_error *error)
{
    if (kind_rows[kind].check) VLM_TRY(kind_rows[kind].check(data, bytes, error));
    if (kind == VLM_IMAGE_JPEG) return vlm_jpeg_decode(data, bytes, out, error);
    return vlm_stb_decode(data, bytes, background, out, error);
}

vlmoe_status vlm_image_decode(const void *data, size_t bytes, const vlm_image_options *options,
                              vlm_image *out, vlmoe_error *error)
{
    static const vlm_image_options defaults = VLM_IMAGE_OPTIONS_INIT;
    if (!options) options = &defaults;
    if (options->max_pixels < 1 || options->max_pixels > VLM_IMAGE_PIXELS_MAX)
        return vlm_fail(error, VLMOE_E_ARG, "max_pixels is %lld, outside 1..%d",
                        (long long)options->max_pixels, VLM_IMAGE_PIXELS_MAX);
    vlm_image_kind kind = vlm_image_sniff(data, bytes);
    vlm_size size = {0, 0};
    VLM_TRY(probe(kind, data, bytes, &size, error));
    if (size.width * size.height > options->max_pixels)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s picture: header says %lld x %lld = %lld pixels, more than the limit "
                        "of %lld",
                        vlm_image_kind_name(kind), (long long)size.width, (long long)size.height,
                        (long long)(size.width * size.height), (long long)options->max_pixels);
    vlm_image image = {0};
    VLM_TRY(vlm_image_create(size.width, size.height, &image, error));
    vlmoe_status st = decode_kind(kind, data, bytes, options->background, &image, error);
    if (st) {
        vlm_image_free(&image);
        vlm_fail_in(error, "%s picture", vlm_image_kind_name(kind));
        return st;
    }
    *out = image;
    return VLMOE_OK;
}
