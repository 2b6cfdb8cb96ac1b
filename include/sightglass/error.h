/* Errors: a function that can fail returns a status to branch on and fills a text to read.
 *
 *     sg_error err;
 *     if (sg_file_open(&file, "model.safetensors", &err) != SG_OK)
 *         fprintf(stderr, "%s\n", err.text);
 *
 * An sg_error lives on the caller's stack, may be NULL where only the status matters, and is written
 * only by a failure. Its text is one line: what was found, what was wanted, in which file or tensor. */
#ifndef SIGHTGLASS_ERROR_H
#define SIGHTGLASS_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SG_MUST_CHECK __attribute__((warn_unused_result))
#define SG_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))
#else
#define SG_MUST_CHECK
#define SG_PRINTF(fmt_at, args_at)
#endif

typedef enum sg_status {
    SG_OK = 0,
    SG_EARG,         /* the caller asked for something that makes no sense (wrong use) */
    SG_ENOTFOUND,    /* a file, tensor or name is not there */
    SG_EIO,          /* the operating system refused to read or write */
    SG_EFORMAT,      /* outside bytes are not what they say they are */
    SG_ESHAPE,       /* extents do not fit together */
    SG_ETYPE,        /* element types do not fit together */
    SG_ENOMEM,       /* memory ran out */
    SG_ENUMERIC,     /* a number stopped being finite */
    SG_EUNSUPPORTED, /* well formed, but not something this version can do */
    SG_ECANCELLED    /* the caller asked to stop */
} sg_status;

#define SG_ERROR_TEXT 512

typedef struct sg_error {
    sg_status status;
    char text[SG_ERROR_TEXT];
} sg_error;

/* Fills `err` (if not NULL) and returns `status`, so that a failing line can be `return sg_fail(...)`. */
sg_status sg_fail(sg_error *err, sg_status status, const char *fmt, ...) SG_PRINTF(3, 4);

/* "out of memory" and the like: the name of a status in words, static storage. */
const char *sg_status_text(sg_status status);

/* Returns from the calling function with the status of `call` unless it is SG_OK. */
#define SG_TRY(call)                      \
    do {                                  \
        const sg_status sg_try_ = (call); \
        if (sg_try_ != SG_OK)             \
            return sg_try_;               \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
