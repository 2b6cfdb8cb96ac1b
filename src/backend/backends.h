/* The backends there are. */
#ifndef SG_BACKEND_BACKENDS_H
#define SG_BACKEND_BACKENDS_H

#include "exec/backend.h"

extern const sg_backend sg_backend_onednn; /* in builds with oneDNN (SG_HAVE_ONEDNN) */

#endif
