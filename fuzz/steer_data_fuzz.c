/* Any bytes as texts of two kinds: an error, or texts that lie together by group. The first byte says which kind of
 * file, and how texts are put together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "sightglass/steer.h"
#include "sightglass/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* The words of the world kb, for the life of the program. */
static const sg_tokenizer *tokenizer(void)
{
    static sg_tokenizer *t;
    char *json = NULL;
    size_t n = 0;
    FILE *to = t ? NULL : open_memstream(&json, &n);
    if (!to)
        return t;
    const sg_status written = sg_world_write_tokenizer(sg_world_find("kb", NULL), 0, NULL, to, NULL);
    fclose(to);
    SG_ASSERT(written == SG_OK && sg_tokenizer_parse(&t, json, n, "kb", NULL) == SG_OK);
    free(json);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const endings[] = {"csv", "tsv", "jsonl", "json"};
    char path[100];
    sg_steer_data *d;
    sg_error err = {SG_OK, ""};
    sg_steer_read_opts opts = sg_steer_read_defaults();
    if (!n)
        return 0;
    if (bytes[0] & 4)
        opts.words = "true|false";
    if (bytes[0] & 8)
        opts.n_cuts = 3;
    if (bytes[0] & 16)
        opts.form = "{question} is {answer}";
    snprintf(path, sizeof path, "/tmp/sightglass-steer-fuzz-%d.%s", (int)getpid(), endings[bytes[0] % 4]);
    FILE *f = fopen(path, "wb");
    if (!f)
        return 0;
    const size_t written = fwrite(bytes + 1, 1, n - 1, f);
    if (fclose(f) == 0 && written == n - 1) {
        if (sg_steer_data_read(&d, path, tokenizer(), opts, &err) == SG_OK) {
            for (int i = 0; i < d->n; i++) {
                SG_ASSERT(d->texts[i].n > 0 && d->texts[i].shared <= d->texts[i].n);
                SG_ASSERT(d->texts[i].group >= 0 && d->texts[i].group < d->n_groups);
                SG_ASSERT(i == 0 || d->texts[i].group == d->texts[i - 1].group ||
                          d->texts[i].group == d->texts[i - 1].group + 1);
            }
            sg_steer_data_free(d);
        } else {
            SG_ASSERT(err.text[0] && !strchr(err.text, '\n'));
        }
    }
    unlink(path);
    return 0;
}
