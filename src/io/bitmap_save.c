/* Bitmaps as PNG files, and sheets of them. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "base/base.h"
#include "sightglass/bitmap.h"

enum { MOST_SIDE = 16384, MOST_PIXELS = 1 << 26 };

sg_status sg_bitmap_new(sg_bitmap **out, int height, int width, sg_error *err)
{
    *out = NULL;
    if (height < 1 || width < 1 || height > MOST_SIDE || width > MOST_SIDE ||
        (int64_t)height * (int64_t)width > MOST_PIXELS)
        return sg_fail(err, SG_EARG, "a picture of %d rows and %d columns, at most %d of each and %d pixels", height,
                       width, MOST_SIDE, MOST_PIXELS);
    const size_t bytes = (size_t)height * (size_t)width * 3;
    sg_bitmap *b = calloc(1, sizeof *b);
    if (!b || !(b->rgb = malloc(bytes))) {
        free(b);
        return sg_fail(err, SG_ENOMEM, "out of memory for a picture of %d rows and %d columns", height, width);
    }
    b->height = height;
    b->width = width;
    memset(b->rgb, 255, bytes);
    *out = b;
    return SG_OK;
}

typedef struct writing {
    jmp_buf out;
    char said[200];
} writing;

static void failed(png_structp png, const char *text)
{
    writing *w = png_get_error_ptr(png);
    snprintf(w->said, sizeof w->said, "%s", text);
    longjmp(w->out, 1);
}

static void warned(png_structp png, const char *text)
{
    (void)png;
    (void)text;
}

static sg_status write_png(const sg_bitmap *b, FILE *to, const char *path, sg_error *err)
{
    writing w;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, failed, warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    if (setjmp(w.out)) {
        png_destroy_write_struct(&png, &info);
        return sg_fail(err, SG_EIO, "%s: %s", path, w.said);
    }
    png_init_io(png, to);
    png_set_compression_level(png, 9);
    png_set_IHDR(png, info, (png_uint_32)b->width, (png_uint_32)b->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < b->height; y++)
        png_write_row(png, b->rgb + (size_t)y * (size_t)b->width * 3);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return SG_OK;
}

sg_status sg_bitmap_save(const sg_bitmap *b, const char *path, sg_error *err)
{
    sg_writer *w;
    SG_TRY(sg_writer_begin(&w, path, err));
    return sg_writer_end(w, write_png(b, sg_writer_stream(w), path, err), err);
}

sg_status sg_bitmap_beside(sg_bitmap **out, int n, const sg_bitmap *const *pictures, int columns, int gap,
                           sg_error *err)
{
    int height = 0, width = 0;
    *out = NULL;
    if (n < 1 || columns < 1 || gap < 0 || gap > 1024)
        return sg_fail(err, SG_EARG, "%d pictures in %d columns, %d pixels between them", n, columns, gap);
    for (int i = 0; i < n; i++) {
        height = SG_MAX(height, pictures[i]->height);
        width = SG_MAX(width, pictures[i]->width);
    }
    const int across = SG_MIN(n, columns);
    const int64_t w = (int64_t)across * (width + gap) + gap,
                  h = (int64_t)((n + columns - 1) / columns) * (height + gap) + gap;
    SG_TRY(sg_bitmap_new(out, (int)SG_MIN(h, INT32_MAX), (int)SG_MIN(w, INT32_MAX), err));
    for (int i = 0; i < n; i++) {
        const sg_bitmap *p = pictures[i];
        const int top = gap + i / columns * (height + gap), left = gap + i % columns * (width + gap);
        for (int y = 0; y < p->height; y++)
            memcpy((*out)->rgb + ((size_t)(top + y) * (size_t)(*out)->width + (size_t)left) * 3,
                   p->rgb + (size_t)y * (size_t)p->width * 3, (size_t)p->width * 3);
    }
    return SG_OK;
}
