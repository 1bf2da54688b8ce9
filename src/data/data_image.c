/* Decoding as a whole: what kind of file it is, whether its header is acceptable, which decoder
 * gets it. */
#include "data_codec.h"

#include <string.h>

/* check NULL: the decoder finds out by itself. probe NULL: it is the decoder's too. */
typedef struct kind_row {
    const char *name, *extension;
    vlm_probe_fn *probe;
    vlm_check_fn *check;
} kind_row;
static const kind_row kind_rows[VLM_IMAGE_KINDS] = {
    [VLM_IMAGE_UNKNOWN] = {"unknown", "bin", NULL, NULL},
    [VLM_IMAGE_JPEG] = {"JPEG", "jpg", NULL, NULL},
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

/* Size and orientation by the header. */
static vlmoe_status measure(vlm_image_file *file, vlmoe_error *error)
{
    vlm_size size = {0, 0};
    if (file->kind == VLM_IMAGE_WEBP)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "WebP pictures are not read; convert them to PNG or JPEG");
    if (file->kind == VLM_IMAGE_UNKNOWN)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "not a picture: %llu bytes that do not begin like JPEG, PNG, GIF, BMP or "
                        "binary PNM",
                        (unsigned long long)file->bytes);
    vlmoe_status st = file->kind == VLM_IMAGE_JPEG
                          ? vlm_jpeg_open(file->workspace, file->data, file->bytes, &size, error)
                          : kind_rows[file->kind].probe(file->data, file->bytes, &size, error);
    if (!st && (size.width < 1 || size.height < 1 || size.width > VLM_IMAGE_SIDE_MAX ||
                size.height > VLM_IMAGE_SIDE_MAX))
        st = vlm_fail(error, VLMOE_E_FORMAT, "header says %lld x %lld pixels; a side is 1..%d",
                      (long long)size.width, (long long)size.height, VLM_IMAGE_SIDE_MAX);
    if (st) {
        vlm_fail_in(error, "%s picture", vlm_image_kind_name(file->kind));
        return st;
    }
    file->orientation =
        file->kind == VLM_IMAGE_JPEG ? vlm_exif_orientation(file->data, file->bytes) : 1;
    size = vlm_exif_stored_size(file->orientation, size); /* turning back swaps as turning does */
    file->width = size.width;
    file->height = size.height;
    return VLMOE_OK;
}

vlmoe_status vlm_image_open(vlm_workspace *workspace, const void *data, size_t bytes,
                            const vlm_image_options *options, vlm_image_file *out,
                            vlmoe_error *error)
{
    static const vlm_image_options defaults = VLM_IMAGE_OPTIONS_INIT;
    vlm_image_file file = {data, bytes, vlm_image_sniff(data, bytes), .workspace = workspace};
    if (!options) options = &defaults;
    if (options->max_pixels < 1 || options->max_pixels > VLM_IMAGE_PIXELS_MAX)
        return vlm_fail(error, VLMOE_E_ARG, "max_pixels is %lld, outside 1..%d",
                        (long long)options->max_pixels, VLM_IMAGE_PIXELS_MAX);
    VLM_TRY(measure(&file, error));
    if (file.width * file.height > options->max_pixels)
        return vlm_fail(error, VLMOE_E_FORMAT,
                        "%s picture: header says %lld x %lld = %lld pixels, more than the limit "
                        "of %lld",
                        vlm_image_kind_name(file.kind), (long long)file.width,
                        (long long)file.height, (long long)(file.width * file.height),
                        (long long)options->max_pixels);
    memcpy(file.background, options->background, sizeof file.background);
    *out = file;
    return VLMOE_OK;
}

/* A turned picture: the part as it is stored, then turned. */
static vlmoe_status read_turned(const vlm_image_file *file, const vlm_box *part, uint8_t *pixels,
                                vlmoe_error *error)
{
    const vlm_box all = {0, 0, file->width, file->height}, *shown = part ? part : &all;
    const vlm_size size =
        vlm_exif_stored_size(file->orientation, (vlm_size){file->width, file->height});
    const vlm_box box = vlm_exif_stored_box(file->orientation, size, *shown);
    vlm_image_file as_stored = *file;
    as_stored.width = size.width;
    as_stored.height = size.height;
    uint8_t *stored = vlm_workspace_take(file->workspace, (size_t)(size.width * size.height), 3);
    if (!stored) return vlm_fail(error, VLMOE_E_NOMEM, "no memory to turn it");
    VLM_TRY(vlm_jpeg_read(&as_stored, &box, stored, error));
    vlm_exif_turn(file->orientation, &(vlm_image){size.width, size.height, stored}, *shown,
                  &(vlm_image){file->width, file->height, pixels});
    return VLMOE_OK;
}

vlmoe_status vlm_image_read(const vlm_image_file *file, const vlm_box *part, uint8_t *pixels,
                            vlmoe_error *error)
{
    vlm_check_fn *check = kind_rows[file->kind].check;
    vlmoe_status st = check ? check(file->data, file->bytes, error) : VLMOE_OK;
    if (!st && file->kind != VLM_IMAGE_JPEG) st = vlm_stb_read(file, pixels, error);
    else if (!st)
        st = file->orientation == 1 ? vlm_jpeg_read(file, part, pixels, error)
                                    : read_turned(file, part, pixels, error);
    if (st) vlm_fail_in(error, "%s picture", vlm_image_kind_name(file->kind));
    return st;
}

vlmoe_status vlm_image_probe(const void *data, size_t bytes, int64_t *width, int64_t *height,
                             vlmoe_error *error)
{
    vlm_image_file file = {data, bytes, vlm_image_sniff(data, bytes)};
    VLM_TRY(vlm_workspace_create(&file.workspace, error));
    vlmoe_status st = measure(&file, error);
    vlm_workspace_destroy(file.workspace);
    VLM_TRY(st);
    *width = file.width;
    *height = file.height;
    return VLMOE_OK;
}

vlmoe_status vlm_image_decode(const void *data, size_t bytes, const vlm_image_options *options,
                              vlm_image *out, vlmoe_error *error)
{
    vlm_workspace *workspace = NULL;
    vlm_image_file file;
    vlm_image image = {0};
    VLM_TRY(vlm_workspace_create(&workspace, error));
    vlmoe_status st = vlm_image_open(workspace, data, bytes, options, &file, error);
    if (!st) st = vlm_image_create(file.width, file.height, &image, error);
    if (!st) st = vlm_image_read(&file, NULL, image.pixels, error);
    vlm_workspace_destroy(workspace);
    if (st) vlm_image_free(&image);
    else *out = image;
    return st;
}
