/* Any bytes as a file of texts: an error, or pieces that end. The first byte says which kind of file. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sightglass/texts.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const endings[] = {"txt", "jsonl", "txt.gz", "jsonl.gz"};
    char path[100];
    sg_texts *t;
    sg_text text;
    if (!n)
        return 0;
    snprintf(path, sizeof path, "/tmp/sightglass-texts-fuzz-%d.%s", (int)getpid(), endings[bytes[0] % 4]);
    FILE *f = fopen(path, "wb");
    if (!f)
        return 0;
    const size_t written = fwrite(bytes + 1, 1, n - 1, f);
    if (fclose(f) == 0 && written == n - 1 && sg_texts_open(&t, path, "text", NULL) == SG_OK) {
        int64_t last = -1;
        while (sg_texts_next(t, &text, NULL) == SG_OK && text.bytes) {
            if (text.offset <= last || text.n == 0 || text.bytes[text.n])
                __builtin_trap();
            last = text.offset;
        }
        sg_texts_close(t);
    }
    unlink(path);
    return 0;
}
