/* Tables: rows of text in named columns, from CSV files.
 *
 *     sg_table *t;
 *     SG_TRY(sg_table_open(&t, "world_place.csv.gz", err));
 *     const int name = sg_table_find(t, "name");
 *     for (sg_dim i = 0; i < sg_table_n_rows(t); i++)
 *         puts(sg_table_at(t, i, name));
 *     sg_table_free(t);
 *
 * Commas part fields, lines part rows, the first row names the columns; a field in double quotes may hold commas, line
 * breaks and doubled quotes (RFC 4180). Every row has as many fields as there are columns. */
#ifndef SIGHTGLASS_TABLE_H
#define SIGHTGLASS_TABLE_H

#include "sightglass/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sg_table sg_table;

/* A file, also compressed by gzip. SG_ENOTFOUND, SG_EIO; SG_EFORMAT names the line. */
sg_status sg_table_open(sg_table **out, const char *path, sg_error *err) SG_MUST_CHECK;
/* The same from bytes, which are copied; `name` stands in error texts for a path. */
sg_status sg_table_parse(sg_table **out, const void *bytes, size_t n_bytes, const char *name,
                         sg_error *err) SG_MUST_CHECK;
void sg_table_free(sg_table *t); /* NULL is fine */

sg_dim sg_table_n_rows(const sg_table *t); /* without the names */
int sg_table_n_columns(const sg_table *t);
const char *sg_table_column(const sg_table *t, int i);
int sg_table_find(const sg_table *t, const char *column); /* -1: there is none */
/* The same, or SG_ENOTFOUND with the nearest name. */
sg_status sg_table_get(int *out, const sg_table *t, const char *column, sg_error *err) SG_MUST_CHECK;
/* Borrowed until the table is freed. */
const char *sg_table_at(const sg_table *t, sg_dim row, int column);
/* The number that a field holds, all of it; NaN where it is none. */
double sg_table_number(const sg_table *t, sg_dim row, int column);

#ifdef __cplusplus
}
#endif
#endif
