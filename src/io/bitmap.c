/* PNG, JPEG and BMP files as bytes of red, green and blue. Both libraries leave by longjmp when a file is damaged; what
 * they work on is kept in a struct of the caller's, so that nothing that is set between lives in a register. */
#include "sightglass/bitmap.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>
#include <png.h>

#include "base/base.h"

enum { MOST_SIDE = 16384, MOST_PIXELS = 1 << 26 };

typedef struct reading {
    const unsigned char *bytes;
    size_t n, at;
    sg_bitmap *bitmap;
    jmp_buf out;
    char said[200]; /* by the library */
} reading;

static sg_status check_size(uint64_t height, uint64_t width, const char *name, sg_error *err)
{
    if (height < 1 || width < 1)
        return sg_fail(err, SG_EFORMAT, "%s: has no pixels", name);
    if (height > MOST_SIDE || width > MOST_SIDE || height * width > MOST_PIXELS)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: has %llu rows and %llu columns, at most %d of each and %d pixels can be read", name,
                       (unsigned long long)height, (unsigned long long)width, MOST_SIDE, MOST_PIXELS);
    return SG_OK;
}

static sg_bitmap *bitmap_new(int height, int width)
{
    sg_bitmap *b = calloc(1, sizeof *b);

    if (b && !(b->rgb = malloc((size_t)height * (size_t)width * 3))) {
        free(b);
        return NULL;
    }
    if (b) {
        b->height = height;
        b->width = width;
    }
    return b;
}

void sg_bitmap_free(sg_bitmap *b)
{
    if (!b)
        return;
    free(b->rgb);
    free(b);
}

/* ---- PNG ---- */

static void png_bytes(png_structp png, png_bytep to, size_t n)
{
    reading *r = png_get_io_ptr(png);

    if (n > r->n - r->at)
        png_error(png, "the file is cut off");
    memcpy(to, r->bytes + r->at, n);
    r->at += n;
}

static void png_failed(png_structp png, const char *text)
{
    reading *r = png_get_error_ptr(png);

    snprintf(r->said, sizeof r->said, "%s", text);
    longjmp(r->out, 1);
}

static void png_warned(png_structp png, const char *text)
{
    (void)png;
    (void)text;
}

static sg_status read_png(reading *r, const char *name, sg_error *err)
{
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, png_failed, png_warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    volatile sg_status status = SG_OK;

    if (!info) {
        png_destroy_read_struct(&png, NULL, NULL);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    }
    if (setjmp(r->out)) {
        status = sg_fail(err, SG_EFORMAT, "%s: a PNG file that is damaged: %s", name, r->said);
    } else {
        png_set_read_fn(png, r, png_bytes);
        png_set_user_limits(png, MOST_SIDE * 8, MOST_SIDE * 8); /* beyond ours, so that ours are told */
        png_set_chunk_malloc_max(png, 1 << 23);
        png_set_chunk_cache_max(png, 128);
        png_read_info(png, info);
        const png_uint_32 height = png_get_image_height(png, info), width = png_get_image_width(png, info);
        status = check_size(height, width, name, err);
        if (status == SG_OK) {
            png_set_expand(png);
            png_set_strip_16(png);
            png_set_gray_to_rgb(png);
            png_set_strip_alpha(png);
            const int passes = png_set_interlace_handling(png);
            png_read_update_info(png, info);
            if (png_get_rowbytes(png, info) != (size_t)width * 3)
                png_error(png, "its rows have an unknown form");
            if (!(r->bitmap = bitmap_new((int)height, (int)width)))
                status = sg_fail(err, SG_ENOMEM, "%s: out of memory for a picture of %u rows and %u columns", name,
                                 (unsigned)height, (unsigned)width);
            if (r->bitmap && passes > 1) /* rows of early passes are read into again */
                memset(r->bitmap->rgb, 0, (size_t)height * width * 3);
            for (int pass = 0; r->bitmap && pass < passes; pass++)
                for (png_uint_32 y = 0; y < height; y++)
                    png_read_row(png, r->bitmap->rgb + (size_t)y * width * 3, NULL);
            if (r->bitmap)
                png_read_end(png, NULL);
        }
    }
    png_destroy_read_struct(&png, &info, NULL);
    return status;
}

/* ---- JPEG ---- */

typedef struct jpeg_errors {
    struct jpeg_error_mgr base; /* first: the library hands out its address */
    reading *r;
} jpeg_errors;

static void jpeg_failed(j_common_ptr jpeg)
{
    jpeg_errors *e = (jpeg_errors *)(void *)jpeg->err;
    char text[JMSG_LENGTH_MAX];

    e->base.format_message(jpeg, text);
    snprintf(e->r->said, sizeof e->r->said, "%.190s", text);
    longjmp(e->r->out, 1);
}

/* The library goes on with grey where numbers are missing; a file of which a part is lost is refused instead. */
static void jpeg_warned(j_common_ptr jpeg, int level)
{
    if (level < 0 && (jpeg->err->msg_code == JWRN_JPEG_EOF || jpeg->err->msg_code == JWRN_HIT_MARKER ||
                      jpeg->err->msg_code == JWRN_HUFF_BAD_CODE))
        jpeg_failed(jpeg);
}

/* Four inks, stored as what they leave of the light, become colours in place of themselves. */
static void from_inks(uint8_t *rgb, const uint8_t *inks, int n)
{
    for (int i = 0; i < n; i++)
        for (int c = 0; c < 3; c++) {
            const int black = 255 - inks[4 * i + 3], ink = 255 - inks[4 * i + c], light = 255 - black;
            const int product = ink * light + 128; /* / 255, rounded */
            rgb[3 * i + c] = (uint8_t)SG_MAX(0, light - (((product >> 8) + product) >> 8));
        }
}

static sg_status read_jpeg(reading *r, const char *name, sg_error *err)
{
    struct jpeg_decompress_struct jpeg;
    jpeg_errors errors = {.r = r};
    uint8_t *volatile row = NULL;
    volatile sg_status status = SG_OK;

    memset(&jpeg, 0, sizeof jpeg);
    jpeg.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = jpeg_failed;
    errors.base.emit_message = jpeg_warned;
    if (setjmp(r->out)) {
        status = sg_fail(err, SG_EFORMAT, "%s: a JPEG file that is damaged: %s", name, r->said);
    } else {
        jpeg_create_decompress(&jpeg);
        jpeg.mem->max_memory_to_use = 1L << 30; /* a progressive picture is held as a whole */
        jpeg_mem_src(&jpeg, r->bytes, (unsigned long)r->n);
        jpeg_read_header(&jpeg, TRUE);
        status = check_size(jpeg.image_height, jpeg.image_width, name, err);
        if (status == SG_OK) {
            const bool inks = jpeg.num_components == 4;
            jpeg.out_color_space = inks ? JCS_CMYK : JCS_RGB;
            jpeg_start_decompress(&jpeg);
            row = malloc((size_t)jpeg.output_width * 4);
            r->bitmap = bitmap_new((int)jpeg.output_height, (int)jpeg.output_width);
            if (!row || !r->bitmap) {
                status = sg_fail(err, SG_ENOMEM, "%s: out of memory for a picture of %u rows and %u columns", name,
                                 jpeg.output_height, jpeg.output_width);
            } else {
                while (jpeg.output_scanline < jpeg.output_height) {
                    uint8_t *to = r->bitmap->rgb + (size_t)jpeg.output_scanline * jpeg.output_width * 3;
                    JSAMPROW at = inks ? row : to;
                    jpeg_read_scanlines(&jpeg, &at, 1);
                    if (inks)
                        from_inks(to, row, (int)jpeg.output_width);
                }
                jpeg_finish_decompress(&jpeg);
            }
        }
    }
    free(row);
    jpeg_destroy_decompress(&jpeg);
    return status;
}

/* ---- BMP: 24 or 32 bits a pixel, as they are ---- */

static uint32_t word_at(const reading *r, size_t at, int n_bytes)
{
    uint32_t x = 0;

    for (int i = 0; i < n_bytes; i++)
        x |= (uint32_t)r->bytes[at + (size_t)i] << (8 * i);
    return x;
}

static sg_status read_bmp(reading *r, const char *name, sg_error *err)
{
    if (r->n < 54)
        return sg_fail(err, SG_EFORMAT, "%s: a BMP file that is cut off in its header", name);
    const size_t begin = word_at(r, 10, 4);
    const int32_t width = (int32_t)word_at(r, 18, 4), tall = (int32_t)word_at(r, 22, 4);
    const uint32_t header = word_at(r, 14, 4), bits = word_at(r, 28, 2), packing = word_at(r, 30, 4);
    const uint64_t height = (uint64_t)(tall < 0 ? -(int64_t)tall : tall); /* below 0: rows go down */
    if (header < 40 || (bits != 24 && bits != 32) || packing != 0)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "%s: a BMP file of %u bits a pixel, packing %u; 24 or 32 bits without packing can be read", name,
                       bits, packing);
    SG_TRY(check_size(height, (uint64_t)SG_MAX(width, 0), name, err));
    const size_t row = ((size_t)width * bits / 8 + 3) & ~(size_t)3;
    if (begin > r->n || (r->n - begin) / row < height)
        return sg_fail(err, SG_EFORMAT, "%s: a BMP file that is cut off: %zu bytes for %llu rows of %zu", name,
                       r->n - SG_MIN(begin, r->n), (unsigned long long)height, row);
    if (!(r->bitmap = bitmap_new((int)height, width)))
        return sg_fail(err, SG_ENOMEM, "%s: out of memory for a picture of %llu rows and %d columns", name,
                       (unsigned long long)height, width);
    for (uint64_t y = 0; y < height; y++) {
        const unsigned char *from = r->bytes + begin + row * (size_t)(tall < 0 ? y : height - 1 - y);
        uint8_t *to = r->bitmap->rgb + (size_t)y * (size_t)width * 3;
        for (int32_t x = 0; x < width; x++, from += bits / 8)
            for (int c = 0; c < 3; c++)
                to[3 * x + c] = from[2 - c];
    }
    return SG_OK;
}

/* ---- any ---- */

sg_status sg_bitmap_parse(sg_bitmap **out, const void *bytes, size_t n_bytes, const char *name, sg_error *err)
{
    static const unsigned char png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    reading r = {.bytes = bytes, .n = n_bytes};
    sg_status status;

    *out = NULL;
    if (n_bytes >= 8 && memcmp(bytes, png, 8) == 0)
        status = read_png(&r, name, err);
    else if (n_bytes >= 3 && r.bytes[0] == 0xff && r.bytes[1] == 0xd8 && r.bytes[2] == 0xff)
        status = read_jpeg(&r, name, err);
    else if (n_bytes >= 2 && r.bytes[0] == 'B' && r.bytes[1] == 'M')
        status = read_bmp(&r, name, err);
    else
        return sg_fail(err, SG_EFORMAT, "%s: neither a PNG nor a JPEG nor a BMP file", name);
    if (status != SG_OK) {
        sg_bitmap_free(r.bitmap);
        return status;
    }
    *out = r.bitmap;
    return SG_OK;
}

sg_status sg_bitmap_open(sg_bitmap **out, const char *path, sg_error *err)
{
    sg_file *file;

    *out = NULL;
    SG_TRY(sg_file_open(&file, path, err));
    const sg_status status = sg_bitmap_parse(out, sg_file_data(file), sg_file_bytes(file), path, err);
    sg_file_close(file);
    return status;
}
