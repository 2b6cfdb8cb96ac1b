/* Looks that are kept between requests, by name: the least recently asked for goes first when they are too many or take
 * too much. Models
 * outlive them. */
#ifndef SG_SERVE_LOOKS_H
#define SG_SERVE_LOOKS_H

#include "serve/look.h"

typedef struct looks looks;

sg_status looks_new(looks **out, int most, size_t most_bytes, sg_error *err) SG_MUST_CHECK;
void looks_free(looks *s); /* with all looks; NULL is fine */

/* The look at this model, prompt and edits: the one kept, or a new one. Held until looks_let_go. */
sg_status looks_open(looks *s, look_of of, const char *model, look **out, sg_error *err) SG_MUST_CHECK;
/* SG_ENOTFOUND: not kept (any more), or a look at another model. */
sg_status looks_find(looks *s, const char *id, const char *model, look **out, sg_error *err) SG_MUST_CHECK;
void looks_let_go(looks *s, look *l); /* NULL is fine */

#endif
