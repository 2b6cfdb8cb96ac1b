/* Any bytes as a GGUF file: it is refused, or every byte of every tensor and every value can be read, and copied into a
 * file. */
#include <stdlib.h>
#include <string.h>

#include "sightglass/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    sg_error err;
    sg_gguf *g;
    void *copy = NULL;
    if (posix_memalign(&copy, 32, n ? n : 1) != 0)
        return 0;
    if (n)
        memcpy(copy, bytes, n);
    if (sg_gguf_parse(&g, copy, n, "input", &err) != SG_OK) {
        free(copy);
        return 0;
    }
    double sum = 0;
    for (int i = 0; i < sg_gguf_count(g); i++) {
        const sg_tensor *t = sg_gguf_at(g, i), *same;
        if (sg_gguf_get(&same, g, sg_gguf_name(g, i), &err) != (t ? SG_OK : SG_EUNSUPPORTED))
            abort();
        const unsigned char *data = t ? t->data : NULL;
        for (size_t j = 0; t && j < sg_tensor_bytes(t); j++)
            sum += data[j];
        for (sg_dim j = 0; t && j < sg_tensor_count(t) && j < 4096; j++)
            sum += sg_tensor_get(t, j) > 0.0;
    }
    sg_gguf_meta *m = sg_gguf_meta_new();
    for (int i = 0; i < sg_gguf_n_keys(g); i++) {
        const sg_gguf_value v = sg_gguf_value_at(g, i);
        const char *const *texts;
        const size_t *lengths;
        int64_t whole;
        double real;
        bool yes;
        if (v.type == SG_GGUF_ARRAY && v.of == SG_GGUF_TEXT) {
            if (sg_gguf_texts(g, &v, &texts, &lengths, &err) != SG_OK)
                abort();
            for (uint64_t k = 0; k < v.n; k++)
                sum += lengths[k] ? texts[k][lengths[k] - 1] : 0;
        }
        for (uint64_t k = 0; k < v.n && v.type != SG_GGUF_TEXT; k++)
            sum += sg_gguf_number(&v, k) > 0;
        const char *key = sg_gguf_key(g, i), *words = sg_gguf_text(g, key);
        sum += (words ? (double)strlen(words) : 0) + sg_gguf_whole(g, key, &whole) + sg_gguf_real(g, key, &real) +
               sg_gguf_bool(g, key, &yes);
        if (m)
            sg_gguf_meta_copy(m, key, &v);
    }
    volatile double sink = sum;
    (void)sink;
    sg_gguf_meta_free(m);
    sg_gguf_close(g);
    free(copy);
    return 0;
}
