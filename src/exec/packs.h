/* Read-only numbers in the layout that a kernel likes best: made at the first run, kept with the state, shared by all
 * plans and threads that use it. */
#ifndef SG_EXEC_PACKS_H
#define SG_EXEC_PACKS_H

#include "base/base.h"

typedef struct sg_packs sg_packs;

sg_packs *sg_packs_new(void);     /* NULL when memory is out */
void sg_packs_free(sg_packs *p);  /* NULL is fine */
void sg_packs_clear(sg_packs *p); /* when what lies at an address may be other numbers from now on */

/* The numbers at `of` in a layout (a hash that names it) of `bytes`; fill writes them the first time, one caller after
 * the other. Borrowed until cleared or freed; NULL when memory is out or fill says no. */
void *sg_packs_get(sg_packs *p, const void *of, uint64_t layout, size_t bytes, bool (*fill)(void *context, void *to),
                   void *context);

#endif
