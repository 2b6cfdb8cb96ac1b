/* Any bytes as a list of edits: refused in one line, or every number, span and text of every edit can be read. Bytes with a
 * slash are passed over: a value may name a file, and no file outside the working folder is to be opened. */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "sightglass/edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static double sum_spans(sg_spans s)
{
    double sum = 0;

    for (int i = 0; i < s.n; i++) {
        SG_ASSERT(s.spans[i].first <= s.spans[i].last);
        sum += (double)s.spans[i].first;
    }
    return sum;
}

static double sum_tensor(const sg_tensor *t)
{
    double sum = 0;

    for (sg_dim i = 0; t->data && i < sg_tensor_count(t); i++)
        sum += sg_tensor_get(t, i);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_edit_list *list = NULL;
    sg_error err = {SG_OK, ""};
    double sum = 0;

    if (n && memchr(bytes, '/', n))
        return 0;
    if (sg_edit_list_parse(&list, n ? (const char *)bytes : "", n, "input", &err) != SG_OK) {
        SG_ASSERT(err.text[0] && !strchr(err.text, '\n'));
        return 0;
    }
    for (int i = 0; i < sg_edit_list_count(list); i++) {
        const sg_edit *e = sg_edit_list_at(list, i);
        const sg_edit_source *from = sg_edit_list_source(list, i);
        SG_ASSERT(e->site && e->op < SG_N_EDIT_OPS && e->low <= e->high);
        sum += (double)strlen(e->site) + sum_tensor(&e->value) + e->strength;
        sum += sum_spans(e->heads) + sum_spans(e->positions) + sum_spans(e->rows) + sum_spans(e->steps) + sum_spans(e->keys);
        if (e->when.site)
            sum += (double)strlen(e->when.site) + sum_tensor(&e->when.direction);
        if (from) {
            SG_ASSERT(!from->text != !from->tokens);
            sum += from->text ? (double)strlen(from->text) : 0;
            for (sg_dim k = 0; from->tokens && k < from->n_tokens; k++)
                sum += from->tokens[k];
        }
    }
    volatile double sink = sum;
    (void)sink;
    sg_edit_list_free(list);
    return 0;
}
