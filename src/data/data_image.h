/* Pictures: from the bytes of a file to RGB pixels of the size a model wants. Files are hostile,
 * pixels are not. Not here: where the bytes come from (data_shard.h), normalisation to floats,
 * patches. */
#ifndef VLM_DATA_IMAGE_H
#define VLM_DATA_IMAGE_H

#include "base.h"
#include "base_rng.h"
#include "data_workspace.h"

/* An owned picture. pixels is [height, width, 3], RGB, row after row without gaps. */
typedef struct vlm_image {
    int64_t width, height;
    uint8_t *pixels;
} vlm_image;

typedef struct vlm_size {
    int64_t width, height;
} vlm_size;

typedef struct vlm_box {
    int64_t x, y, width, height; /* pixels; the corner is inside */
} vlm_box;

enum { VLM_IMAGE_SIDE_MAX = 65535 }; /* no side is longer than this, whatever the limits say */
enum { VLM_IMAGE_PIXELS_DEFAULT = 64 * 1024 * 1024 };
enum { VLM_IMAGE_PIXELS_MAX = 96 * 1024 * 1024 }; /* a limit above this is an ARG error */

/* Cleared pixels (black). Errors: ARG (a side below 1 or above VLM_IMAGE_SIDE_MAX), NOMEM. */
vlmoe_status vlm_image_create(int64_t width, int64_t height, vlm_image *out, vlmoe_error *error);
void vlm_image_free(vlm_image *image); /* zeroes *image; a zeroed image is allowed */

/* ---- Decoding ---- */

typedef enum vlm_image_kind {
    VLM_IMAGE_UNKNOWN,
    VLM_IMAGE_JPEG,
    VLM_IMAGE_PNG,
    VLM_IMAGE_GIF,
    VLM_IMAGE_BMP,
    VLM_IMAGE_PNM,
    VLM_IMAGE_WEBP, /* told apart, but not decoded */
    VLM_IMAGE_KINDS
} vlm_image_kind;

/* By the first bytes alone: names lie (NLVR2's .png files are often JPEG). */
vlm_image_kind vlm_image_sniff(const void *data, size_t bytes);
const char *vlm_image_kind_name(vlm_image_kind kind);      /* "JPEG"; never NULL */
const char *vlm_image_kind_extension(vlm_image_kind kind); /* "jpg"; "bin" for an unknown kind */

typedef struct vlm_image_options {
    int64_t max_pixels; /* width * height, compared with the file's header before any pixel memory
                           is taken */
    uint8_t background[3]; /* RGB behind transparent pixels */
} vlm_image_options;
#define VLM_IMAGE_OPTIONS_INIT {VLM_IMAGE_PIXELS_DEFAULT, {255, 255, 255}}

/* A file whose header was read, and where its pixels can be. */
typedef struct vlm_image_file {
    const unsigned char *data; /* borrowed */
    size_t bytes;
    vlm_image_kind kind;
    int64_t width, height; /* as shown */
    int orientation;       /* 1: stored as shown; 2 to 8: turned as Exif says */
    uint8_t background[3];
    vlm_workspace *workspace;
} vlm_image_file;

/* The two steps of decoding, for those who want a part of the pixels or many pictures: open checks
 * the header and the limit, read fills pixels [height, width, 3], the caller's memory. Both take
 * what they need from the workspace until its next reset, which comes after read; one file at a
 * time. Pixels outside part (NULL = everything) may stay unset, but the rest of the file is checked
 * all the same. Errors: as vlm_image_decode. */
vlmoe_status vlm_image_open(vlm_workspace *workspace, const void *data, size_t bytes,
                            const vlm_image_options *options, vlm_image_file *out,
                            vlmoe_error *error);
vlmoe_status vlm_image_read(const vlm_image_file *file, const vlm_box *part, uint8_t *pixels,
                            vlmoe_error *error);

/* Size from the header, turned as Exif says; no pixel is decoded. Errors: FORMAT (WebP too). */
vlmoe_status vlm_image_probe(const void *data, size_t bytes, int64_t *width, int64_t *height,
                             vlmoe_error *error);

/* PNG of every colour type and depth (16 bits are cut to 8), JPEG (grey, YCbCr, CMYK and YCCK as
 * Adobe stores them, inverted; turned as their Exif orientation says), GIF (first frame), BMP, binary PNM. A file that ends early,
 * contradicts its header, or fails a checksum is an error, never half a picture. options NULL =
 * defaults. Errors: FORMAT (WebP too), ARG (options), NOMEM. */
vlmoe_status vlm_image_decode(const void *data, size_t bytes, const vlm_image_options *options,
                              vlm_image *out, vlmoe_error *error);

/* ---- Geometry ---- */

/* box of the picture -> all of out, whose size and memory are the caller's. Antialiased bicubic (a =
 * -0.5), every byte equal to Pillow's Image.resize((width, height), BICUBIC, box=box): near the
 * box's edges it looks at the picture's pixels outside the box. workspace NULL = one for this call.
 * Errors: ARG (box not inside the picture, a side below 1 or above VLM_IMAGE_SIDE_MAX), NOMEM. */
vlmoe_status vlm_image_resize(const vlm_image *image, vlm_box box, const vlm_image *out,
                              vlm_workspace *workspace, vlmoe_error *error);

/* The part of a picture that such a resize reads. */
vlm_box vlm_image_resize_reads(vlm_size picture, vlm_box box, vlm_size out);

/* The two transforms of evaluation: the whole picture to a square, aspect not kept; or its shorter
 * side to size / 0.875, rounded down, the longer in proportion, and of that the central square. */
typedef enum vlm_fit {
    VLM_FIT_SQUARE,
    VLM_FIT_CROP
} vlm_fit;

/* out is [size, size, 3]; only what it needs of a longer side is computed. Every byte equals
 * Pillow's resize and crop. workspace NULL = one for this call. Errors: NOMEM. */
vlmoe_status vlm_image_fit(const vlm_image *image, vlm_fit fit, int64_t size, uint8_t *out,
                           vlm_workspace *workspace, vlmoe_error *error);

void vlm_image_mirror(uint8_t *pixels, int64_t width,
                      int64_t height); /* left to right, in place; pixels [height, width, 3] */

/* ---- Augmentation: random, yet the same for the same rng ---- */

typedef struct vlm_augment {
    double scale_min,
        scale_max; /* share of the picture's area that a crop has, 0 < min <= max <= 1 */
    double ratio_min,
        ratio_max; /* width / height of a crop, 0 < min <= max, drawn evenly on a log scale */
    double mirror; /* probability of a left-right mirror, 0..1 */
    double
        brightness; /* strengths >= 0: the factor is drawn from [max(0, 1 - x), 1 + x]; 0 = off */
    double contrast;
    double saturation;
    double hue; /* 0..0.5: share of the colour circle, drawn from [-x, x]; 0 = off */
} vlm_augment;
#define VLM_AUGMENT_INIT {0.5, 1.0, 3.0 / 4.0, 4.0 / 3.0, 0.5, 0.0, 0.0, 0.0, 0.0}

/* Errors: ARG, naming the field and its range. */
vlmoe_status vlm_augment_check(const vlm_augment *augment, vlmoe_error *error);

/* Where a random crop lies: ten tries at area and ratio, then the largest central box of an allowed
 * ratio (the sampling of torchvision's RandomResizedCrop). Use the box twice for one crop at two
 * sizes. */
vlm_box vlm_augment_box(const vlm_augment *augment, int64_t width, int64_t height, vlm_rng *rng);

/* Brightness, contrast, saturation and hue in a random order, on u8 as Pillow's ImageEnhance and
 * HSV do. In place; pixels [n_pixels, 3]. */
void vlm_augment_colour(const vlm_augment *augment, uint8_t *pixels, int64_t n_pixels,
                        vlm_rng *rng);

/* Crop, resize, mirror, colours: out's size and memory are the caller's. workspace NULL = one for
 * this call. Errors: ARG, NOMEM. */
vlmoe_status vlm_image_augment(const vlm_image *image, const vlm_augment *augment, vlm_rng *rng,
                               const vlm_image *out, vlm_workspace *workspace, vlmoe_error *error);

/* The four colour changes one by one, in place; pixels [n_pixels, 3]. factor 1 (hue: 0) changes
 * nothing, except that the way through HSV rounds. */
void vlm_colour_brightness(uint8_t *pixels, int64_t n_pixels, float factor);
void vlm_colour_contrast(uint8_t *pixels, int64_t n_pixels, float factor);
void vlm_colour_saturation(uint8_t *pixels, int64_t n_pixels, float factor);
void vlm_colour_hue(uint8_t *pixels, int64_t n_pixels,
                    double shift); /* shift in [-0.5, 0.5] of the circle */

#endif
