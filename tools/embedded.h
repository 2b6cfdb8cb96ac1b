/* Files that lie in the program: the page, the shipped models, the studies' reports. scripts/embed writes the table. */
#ifndef SG_TOOLS_EMBEDDED_H
#define SG_TOOLS_EMBEDDED_H

#include <stdbool.h>

typedef struct embedded_file {
    const char *path; /* "page/index.html"; NULL ends the table */
    const unsigned char *bytes, *end;
    const char *sha256; /* of the file, before compression */
    bool gzip;
} embedded_file;

extern const embedded_file embedded[];

#endif
