/* Any bytes as the record of a study: an error, or a page. */
#include <stdio.h>
#include <stdlib.h>

#include "sightglass/report_book.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_report_book *b;
    char *text = NULL;
    size_t length = 0;
    if (sg_report_book_new(&b, NULL) != SG_OK)
        return 0;
    if (sg_report_book_add(b, "report", bytes, n, NULL) == SG_OK) {
        FILE *to = open_memstream(&text, &length);
        if (to) {
            if (sg_report_book_write_html(b, to, NULL) != SG_OK)
                __builtin_trap();
            fclose(to);
        }
        free(text);
    }
    sg_report_book_free(b);
    return 0;
}
