/* PNG pictures with a palette, whose colours are looked up here: stb_image looks past a short palette's end. */
#ifndef VLM_DATA_PNG_H
#define VLM_DATA_PNG_H

#include "data_codec.h"

typedef struct vlm_png_palette {
    int n;               /* colours; 0 = this file has no palette */
    int scale;           /* what a greyscale decoder multiplies indices by */
    uint8_t rgba[256][4];
} vlm_png_palette;

/* Read the palette of a PNG that was checked (vlm_png_check).  Errors: FORMAT. */
vlmoe_status vlm_png_palette_read(const unsigned char *data, size_t bytes, vlm_png_palette *out, vlmoe_error *error);
/* The same picture as greyscale whose levels are indices times palette.scale, into copy [bytes]; its length. */
size_t vlm_png_as_levels(const unsigned char *data, size_t bytes, unsigned char *copy);
/* levels [height, width] -> pixels [height, width, 3] on the file's background.  Errors: FORMAT, naming pixel and colour. */
vlmoe_status vlm_png_colour(const vlm_png_palette *palette, const vlm_image_file *file, const uint8_t *levels, uint8_t *pixels, vlmoe_error *error);

#endif
