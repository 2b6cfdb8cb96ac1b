/* Names that people type: how far one is from another, and whether it fits a pattern. */
#include <string.h>

#include "base/base.h"

#define LONGEST 255 /* names end long before this; what follows is not compared */

/* Levenshtein's distance by rows: row[j] is the distance between the first i bytes of a and the first j of b. */
int sg_edit_distance(const char *a, const char *b)
{
    const size_t n_a = strnlen(a, LONGEST), n_b = strnlen(b, LONGEST);
    int row[LONGEST + 1];
    for (size_t j = 0; j <= n_b; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= n_a; i++) {
        int diagonal = row[0]; /* what row[j - 1] was in the row above */
        row[0] = (int)i;
        for (size_t j = 1; j <= n_b; j++) {
            const int above = row[j];
            const int replaced = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = SG_MIN(replaced, 1 + SG_MIN(above, row[j - 1]));
            diagonal = above;
        }
    }
    return row[n_b];
}

/* Only the latest '*' can need more text, since an earlier one has nothing to gain from it: this bounds the work by
 * the product of the lengths. */
bool sg_match(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL; /* the latest '*', and where its run ends so far */
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern && (*pattern == '?' || *pattern == *text)) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}
