/* The numbers of GGUF's element types. */
#ifndef SG_IO_GGUF_TYPES_H
#define SG_IO_GGUF_TYPES_H

#include <stddef.h>
#include <stdint.h>

typedef struct sg_gguf_element {
    const char *name; /* NULL: no such number */
    uint16_t block, bytes;
    int dtype; /* an sg_dtype, or -1 */
} sg_gguf_element;

#define SG_GGUF_N_ELEMENTS 40
extern const sg_gguf_element sg_gguf_elements[SG_GGUF_N_ELEMENTS];

#define SG_GGUF_ALIGNMENT 32

#endif
