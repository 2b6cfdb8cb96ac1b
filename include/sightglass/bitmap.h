/* Bitmaps: the pixels of PNG, JPEG and BMP files.
 *
 *     sg_bitmap *picture;
 *     SG_TRY(sg_bitmap_open(&picture, "cat.jpg", err));
 *     SG_TRY(sg_model_pixels(model, 1, (const sg_bitmap *const[]){picture}, &pixels, err)); // model.h
 *     sg_bitmap_free(picture);
 *
 * Whatever a file holds, these are bytes of red, green and blue: greys are spread, palettes looked up, 16 bits cut to
 * 8, transparency is left out. Of BMP files those of 24 or 32 bits without packing are read. Colour profiles, gamma and the orientation that a camera noted are not applied. */
#ifndef SIGHTGLASS_BITMAP_H
#define SIGHTGLASS_BITMAP_H

#include <stddef.h>
#include <stdint.h>

#include "sightglass/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_bitmap {
    int height, width; /* 1 to 16384 */
    uint8_t *rgb;      /* [height,width,3], from the top left */
} sg_bitmap;

/* SG_EFORMAT: neither PNG nor JPEG nor BMP, damaged, or cut off; SG_EUNSUPPORTED: larger than 16384 pixels along a side, or
 * 2^26 in all. */
sg_status sg_bitmap_open(sg_bitmap **out, const char *path, sg_error *err) SG_MUST_CHECK;
sg_status sg_bitmap_parse(sg_bitmap **out, const void *bytes, size_t n_bytes, const char *name,
                          sg_error *err) SG_MUST_CHECK;
/* White all over. SG_EARG: a side that is none. */
sg_status sg_bitmap_new(sg_bitmap **out, int height, int width, sg_error *err) SG_MUST_CHECK;
void sg_bitmap_free(sg_bitmap *b); /* NULL is fine */

/* Writes a PNG, which appears whole or not at all; the same pixels give the same bytes. */
sg_status sg_bitmap_save(const sg_bitmap *b, const char *path, sg_error *err) SG_MUST_CHECK;
/* Pictures side by side from the top left, in so many columns, with a white gap between them and around. */
sg_status sg_bitmap_beside(sg_bitmap **out, int n, const sg_bitmap *const *pictures, int columns, int gap,
                           sg_error *err) SG_MUST_CHECK;

/* How new pixels come from old ones: a weighted mean over a window as wide as the filter, or as the step between new
 * pixels if that is wider (but for the nearest). The numbers are those that Pillow and preprocessor_config.json have
 * for them. */
typedef enum sg_filter {
    SG_FILTER_NEAREST,
    SG_FILTER_LANCZOS,  /* sinc(x) sinc(x/3), |x| < 3 */
    SG_FILTER_BILINEAR, /* 1 - |x|, |x| < 1 */
    SG_FILTER_BICUBIC,  /* Keys 1981, a = -1/2 */
    SG_FILTER_BOX,
    SG_FILTER_HAMMING,
    SG_N_FILTERS
} sg_filter;

/* Rows first get their new width, then columns their new height; each time bytes are rounded, from weights in 22 bits,
 * so that results are Pillow's to the byte. */
sg_status sg_bitmap_resize(sg_bitmap **out, const sg_bitmap *b, int height, int width, sg_filter filter,
                           sg_error *err) SG_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
