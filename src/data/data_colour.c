/* Colour changes of u8 pixels with Pillow's arithmetic (ImageEnhance, and hue by way of 8-bit HSV),
 * byte for byte: recipes tuned with it keep their meaning. */
#include "data_image.h"
#include "data_pixel.h"

#include <math.h>
#include <string.h>

void vlm_colour_brightness(uint8_t *pixels, int64_t n_pixels, float factor)
{
    vlm_pixel_best()->blend(pixels, n_pixels * 3, 0, factor);
}

void vlm_colour_contrast(uint8_t *pixels, int64_t n_pixels, float factor)
{
    if (n_pixels < 1) return;
    int64_t sum = vlm_pixel_best()->luma_sum(pixels, n_pixels);
    int mean = (int)((double)sum / (double)n_pixels + 0.5);
    vlm_pixel_best()->blend(pixels, n_pixels * 3, mean, factor);
}

void vlm_colour_saturation(uint8_t *pixels, int64_t n_pixels, float factor)
{
    vlm_pixel_best()->saturate(pixels, n_pixels, factor);
}

/* Hue and saturation of a pixel as bytes; its value is the largest channel. */
static void to_hsv(const uint8_t *p, uint8_t *hsv)
{
    int high = VLM_MAX(p[0], VLM_MAX(p[1], p[2])), low = VLM_MIN(p[0], VLM_MIN(p[1], p[2]));
    hsv[0] = hsv[1] = 0;
    hsv[2] = (uint8_t)high;
    if (high == low) return;
    float range = (float)(high - low);
    float r = (float)(high - p[0]) / range, g = (float)(high - p[1]) / range;
    float b = (float)(high - p[2]) / range;
    float hue = p[0] == high ? b - g : p[1] == high ? (float)(2.0 + r - b) : (float)(4.0 + g - r);
    hue = (float)fmod(hue / 6.0 + 1.0, 1.0);
    hsv[0] = (uint8_t)(int)(hue * 255.0);
    hsv[1] = (uint8_t)(int)(range / (float)high * 255.0);
}

static void to_rgb(const uint8_t *hsv, uint8_t *p)
{
    double sector = hsv[0] * 6.0 / 255.0;
    int i = (int)sector;
    float f = (float)(sector - i), s = (float)(hsv[1] / 255.0), v = hsv[2];
    uint8_t full = hsv[2], none = (uint8_t)round(v * (1.0 - s));
    uint8_t falling = (uint8_t)round(v * (1.0 - s * f));
    uint8_t rising = (uint8_t)round(v * (1.0 - s * (1.0 - f)));
    const uint8_t rgb[6][3] = {{full, rising, none},  {falling, full, none}, {none, full, rising},
                               {none, falling, full}, {rising, none, full},  {full, none, falling}};
    memcpy(p, rgb[i % 6], 3);
}

void vlm_colour_hue(uint8_t *pixels, int64_t n_pixels, double shift)
{
    uint8_t step = (uint8_t)(int)(shift * 255.0); /* modulo 256: the circle closes */
    for (int64_t i = 0; i < n_pixels; i++) {
        uint8_t hsv[3];
        to_hsv(pixels + i * 3, hsv);
        hsv[0] = (uint8_t)(hsv[0] + step);
        to_rgb(hsv, pixels + i * 3);
    }
}
