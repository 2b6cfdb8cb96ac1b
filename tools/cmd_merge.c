/* sightglass merge: a model with its LoRAs worked into the weights. */
#include <stdlib.h>
#include <string.h>

#include "adapted.h"

static const char help[] =
    "usage: sightglass merge MODEL --lora DIR[=STRENGTH] ... --out DIR [options]\n\n"
    "Works low-rank adapters into a model's weights, W + strength * s B A, and writes the model that this is.\n\n"
    "  --lora DIR[=STRENGTH] an adapter in PEFT's layout (1); may be repeated\n"
    "  --out DIR             the new model's folder: config.json, model.safetensors, tokenizer.json if there is one\n"
    "  --dtype f32|bf16|f16  matrices are stored as this (as the model has them)\n"
    "  --json                for machines\n";

static int merge(const char *model, const adapted *added, const char *out, const char *dtype, bool json)
{
    static const sg_dtype types[] = {SG_F32, SG_BF16, SG_F16};
    sg_error err = {SG_OK, ""};
    sg_model *m = NULL;
    sg_dtype stored = SG_N_DTYPES;

    for (size_t i = 0; dtype && i < SG_COUNT_OF(types); i++)
        if (strcmp(dtype, sg_dtype_name(types[i])) == 0)
            stored = types[i];
    if (dtype && stored == SG_N_DTYPES)
        return cli_usage("merge", "--dtype is \"%.20s\", wanted f32, bf16 or f16", dtype);
    sg_status status = adapted_open(&m, model, sg_model_defaults(), added, false, &err);
    if (status == SG_OK && !dtype) {
        stored = sg_model_get_info(m)->stored;
        if (stored != SG_F32 && stored != SG_BF16 && stored != SG_F16)
            stored = SG_BF16; /* of packed weights */
    }
    if (status == SG_OK) {
        cli_warnings(m);
        status = sg_model_merge(m, &err);
    }
    if (status == SG_OK)
        status = sg_model_write(m, stored, out, &err);
    if (status != SG_OK) {
        sg_model_close(m);
        return cli_fail(&err);
    }
    int code = 0;
    if (json)
        code = cli_print_json(json_pack("{s:s, s:s, s:i, s:s}", "model", model, "out", out, "loras", added->n_loras,
                                        "dtype", sg_dtype_name(stored)));
    else
        printf("%s: %s with %d LoRA%s worked in, matrices in %s\n", out, model, added->n_loras,
               added->n_loras == 1 ? "" : "s", sg_dtype_name(stored));
    sg_model_close(m);
    return code;
}

int cmd_merge(int argc, char **argv)
{
    static const struct option options[] = {{"lora", required_argument, NULL, ADAPTED_LORA},
                                            {"out", required_argument, NULL, 'o'},
                                            {"dtype", required_argument, NULL, 'd'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *out = NULL, *dtype = NULL;
    adapted added = {0};
    bool json = false;

    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'o':
            out = optarg;
            break;
        case 'd':
            dtype = optarg;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        default:
            if (!adapted_option(&added, o, optarg))
                return EXIT_USAGE;
        }
    }
    if (optind + 1 != argc)
        return cli_usage("merge", "wanted one MODEL, got %d", argc - optind);
    if (!out || !added.n_loras)
        return cli_usage("merge", "wanted --lora DIR and --out DIR");
    return merge(argv[optind], &added, out, dtype, json);
}
