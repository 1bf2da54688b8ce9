/* What data_image.c asks of the decoders behind it. Each library is known to one file only: stb to
 * data_stb.c, libjpeg to data_jpeg.c (its twin without libjpeg: none_jpeg.c). */
#ifndef VLM_DATA_CODEC_H
#define VLM_DATA_CODEC_H

#include "data_image.h"

/* Size as the header has it; any number, the caller judges it. Errors: FORMAT. */
typedef vlmoe_status vlm_probe_fn(const unsigned char *data, size_t bytes, vlm_size *out,
                                  vlmoe_error *error);
vlm_probe_fn vlm_png_probe, vlm_gif_probe, vlm_bmp_probe, vlm_pnm_probe;

/* Whether all pixels (of a GIF: of its first frame) are in the file; of a PNG also the order,
 * lengths and CRC-32 of all chunks, which stb_image never looks at. Called after the size that the
 * probe gave was found acceptable. Errors: FORMAT, with the offset. */
typedef vlmoe_status vlm_check_fn(const unsigned char *data, size_t bytes, vlmoe_error *error);
vlm_check_fn vlm_png_check, vlm_gif_check, vlm_bmp_check, vlm_pnm_check;

/* JPEG in two steps: the header, and the pixels of the file that was opened last in this workspace.
 * read fills pixels [height, width, 3]; outside part (NULL = everything) they may stay unset.
 * Errors: FORMAT, NOMEM. */
vlmoe_status vlm_jpeg_open(vlm_workspace *workspace, const unsigned char *data, size_t bytes,
                           vlm_size *out, vlmoe_error *error);
vlmoe_status vlm_jpeg_read(const vlm_image_file *file, const vlm_box *part, uint8_t *pixels,
                           vlmoe_error *error);

/* How a JPEG says it should be shown: 1 (as stored) to 8, as Exif counts; 1 when it says nothing. */
int vlm_exif_orientation(const unsigned char *data, size_t bytes);
vlm_size vlm_exif_stored_size(int orientation, vlm_size shown);
vlm_box vlm_exif_stored_box(int orientation, vlm_size stored, vlm_box shown);
/* Fills part of shown, which has its size and memory, from the stored picture. */
void vlm_exif_turn(int orientation, const vlm_image *stored, vlm_box part, vlm_image *shown);

/* PNG, GIF, BMP, PNM and, where libjpeg is missing, JPEG, transparency flattened onto
 * file->background. Errors: FORMAT, NOMEM. */
vlm_probe_fn vlm_stb_probe;
vlmoe_status vlm_stb_read(const vlm_image_file *file, uint8_t *pixels, vlmoe_error *error);

#endif
