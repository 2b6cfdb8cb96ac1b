/* Any bytes as a file of a relation: an error, or samples that can be read. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "sightglass/relation.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char path[100];
    sg_relation *r;
    sg_error err = {SG_OK, ""};
    snprintf(path, sizeof path, "/tmp/sightglass-relation-fuzz-%d.json", (int)getpid());
    FILE *f = fopen(path, "wb");
    if (!f)
        return 0;
    const size_t written = fwrite(bytes, 1, n, f);
    if (fclose(f) == 0 && written == n) {
        if (sg_relation_open(&r, path, &err) == SG_OK) {
            size_t length = 0;
            for (int i = 0; i < r->n_samples; i++)
                length += strlen(r->samples[i].subject) + strlen(r->samples[i].object);
            SG_ASSERT(r->n_samples >= 0 && length <= 6 * n);
            sg_relation_free(r);
        } else {
            SG_ASSERT(err.text[0] && !strchr(err.text, '\n'));
        }
    }
    unlink(path);
    return 0;
}
