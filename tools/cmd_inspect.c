/* sightglass inspect: what a model is made of. */
#include <stdlib.h>
#include <string.h>

#include "adapted.h"
#include "cli.h"
#include "gguf_shown.h"
#include "io/names.h"
#include "sightglass/playground.h"
#include "verified.h"

static const char help[] = "usage: sightglass inspect MODEL [--lora DIR] [--sae DIR] [--json]\n\n"
                           "Shows a model's sizes and the name, type and shape of every value in it.\n"
                           "MODEL is a folder with config.json, model.safetensors and tokenizer.json, a GGUF file, of which the\n"
                           "metadata are shown too, or a folder that `sightglass net run --save` wrote.\n\n"
                           ADAPTED_HELP
                           "  --json                for machines\n";

static const char *const tasks[] = {
    [SG_TASK_NEXT] = "next",   [SG_TASK_MASKED] = "masked",
    [SG_TASK_LABEL] = "label", [SG_TASK_LABEL_EACH] = "label_each",
    [SG_TASK_MATCH] = "match", [SG_TASK_EMBED] = "embed",
};

static int as_json(const sg_model *m, const sg_graph *g)
{
    const sg_model_info *in = sg_model_get_info(m);
    json_t *values = sg_names_json(g), *warnings = json_array(), *certificate = NULL;
    sg_certificate *c = NULL;
    sg_error err;

    for (int i = 0; sg_model_warning(m, i); i++)
        json_array_append_new(warnings, json_string(sg_model_warning(m, i)));
    if (sg_certificate_find(&c, in->path, &err) != SG_OK)
        json_array_append_new(warnings, json_string(err.text));
    else if (c)
        certificate = verified_json(c);
    sg_certificate_free(c);
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:s, s:I, s:I, s:b, "
                  "s:o, s:o, s:o?}",
                  "path", in->path, "family", in->family, "architecture", in->architecture, "n_layers",
                  (json_int_t)in->n_layers, "d_model", (json_int_t)in->d_model, "n_heads", (json_int_t)in->n_heads,
                  "n_kv_heads", (json_int_t)in->n_kv_heads, "d_head", (json_int_t)in->d_head, "d_mlp",
                  (json_int_t)in->d_mlp, "n_vocab", (json_int_t)in->n_vocab, "n_context", (json_int_t)in->n_context,
                  "n_parameters", (json_int_t)in->n_parameters, "weight_bytes", (json_int_t)in->weight_bytes, "stored",
                  sg_dtype_name(in->stored), "tied", (int)in->tied, "task", tasks[in->task], "n_labels",
                  (json_int_t)in->n_labels, "image_side", (json_int_t)in->image_side, "tokenizer",
                  sg_model_tokenizer(m) != NULL, "values", values, "warnings", warnings, "certificate", certificate);
    sg_gguf *file;
    if (sg_gguf_is(in->path) && sg_gguf_open(&file, in->path, &err) == SG_OK) {
        json_object_set_new(root, "gguf", gguf_json(file));
        sg_gguf_close(file);
    }
    json_t *added = adapted_json(m);
    json_object_update(root, added);
    json_decref(added);
    return cli_print_json(root);
}

/* Whether the model was verified here, in a line. */
static void print_certificate(const char *path)
{
    sg_certificate *c = NULL;
    sg_error err;

    if (sg_certificate_find(&c, path, &err) != SG_OK) {
        printf("  certificate: %s\n", err.text);
    } else if (c) {
        fputs("  ", stdout);
        verified_summary(stdout, c);
    } else {
        printf("  no certificate; sightglass verify writes one\n");
    }
    sg_certificate_free(c);
}

static void print_values(const sg_graph *g)
{
    const cli_paint c = cli_colours();
    char shape[SG_SHAPE_TEXT];

    printf("%svalues%s (axes: b batch, t position, s key position, h head, d the rest)\n", c.bold, c.off);
    for (int i = 0; i < sg_graph_n_names(g); i++) {
        const sg_value *v = sg_graph_named(g, i);
        if (strcmp(sg_value_op(v), "variable") != 0)
            printf("  %-34s %-5s %-28s %s%s%s\n", sg_value_name(v), sg_dtype_name(sg_value_dtype(v)),
                   sg_value_shape_text(v, shape), c.dim, sg_value_axes(v), c.off);
    }
    printf("\n%sweights%s\n", c.bold, c.off);
    for (int i = 0; i < sg_graph_n_names(g); i++) {
        const sg_value *v = sg_graph_named(g, i);
        if (strcmp(sg_value_op(v), "variable") == 0)
            printf("  %-50s %-5s %s\n", sg_value_name(v), sg_dtype_name(sg_value_dtype(v)),
                   sg_value_shape_text(v, shape));
    }
}

/* A GGUF file whose model is not known here still says what it holds. */
static bool show_file(const char *path)
{
    sg_gguf *g;
    if (!sg_gguf_is(path) || sg_gguf_open(&g, path, NULL) != SG_OK)
        return false;
    gguf_print(g);
    sg_gguf_close(g);
    return true;
}

static int for_people(const sg_model *m, const sg_graph *g)
{
    const sg_model_info *in = sg_model_get_info(m);
    const cli_paint c = cli_colours();

    printf("%s%s%s  %s, family %s\n", c.bold, in->path, c.off, in->architecture, in->family);
    printf("  %lld parameters, %.1f MB of %s%s\n", (long long)in->n_parameters, (double)in->weight_bytes / 1e6,
           sg_dtype_name(in->stored),
           in->task != SG_TASK_NEXT && in->task != SG_TASK_MASKED ? ""
           : in->tied                                             ? ", unembedding tied to the embedding"
                                                                  : ", its own unembedding");
    if (in->n_heads) {
        printf("  %lld layers, width %lld, %lld heads of %lld", (long long)in->n_layers, (long long)in->d_model,
               (long long)in->n_heads, (long long)in->d_head);
        if (in->n_kv_heads != in->n_heads)
            printf(" over %lld key/value heads", (long long)in->n_kv_heads);
        printf(", hidden width %lld%s\n  ", (long long)in->d_mlp, in->task == SG_TASK_MATCH ? " (of texts)" : "");
    } else {
        printf("  %lld layers with weights, labels are read off %lld numbers\n  ", (long long)in->n_layers,
               (long long)in->d_model);
    }
    if (in->n_vocab)
        printf("vocabulary %lld%s, context %lld", (long long)in->n_vocab,
               sg_model_tokenizer(m) ? "" : " (no tokenizer)", (long long)in->n_context);
    if (in->image_side)
        printf("%simages of %lld by %lld pixels", in->n_vocab ? ", " : "", (long long)in->image_side,
               (long long)in->image_side);
    if (in->image_side && !in->n_vocab && in->n_context)
        printf(" in %lld places", (long long)in->n_context);
    if (in->n_labels)
        printf(", %lld labels", (long long)in->n_labels);
    printf("\n");
    adapted_print(m);
    print_certificate(in->path);
    printf("\n");
    (void)show_file(in->path);
    print_values(g);
    return 0;
}

/* A net of the Playground is no transformer: it brings its own graph. */
static bool is_play(const char *dir)
{
    char path[4096];
    json_error_t at;
    if ((size_t)snprintf(path, sizeof path, "%s/config.json", dir) >= sizeof path)
        return false;
    json_t *config = json_load_file(path, 0, &at);
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const bool is = type && strcmp(type, "playground") == 0;
    json_decref(config);
    return is;
}

static int inspect_play(const char *dir, bool json)
{
    sg_error err = {SG_OK, ""};
    char state[SG_PLAY_TEXT];
    sg_play *p = NULL;
    sg_graph *g = NULL;
    int code = 0;

    if (sg_play_load(&p, dir, &err) != SG_OK || sg_play_graph(&g, p, SG_F32, &err) != SG_OK) {
        code = cli_fail(&err);
    } else {
        sg_play_state_write(sg_play_get_state(p), state);
        if (json) {
            code = cli_print_json(json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:o}", "path", dir, "family", "playground",
                                            "architecture", "PlaygroundNet", "state", state, "n_parameters",
                                            (json_int_t)sg_play_n_parameters(p), "epoch", (json_int_t)sg_play_epoch(p),
                                            "values", sg_names_json(g)));
        } else {
            const cli_paint c = cli_colours();
            printf(
                "%s%s%s  PlaygroundNet, family playground\n  %d parameters, epoch %lld, losses %.6f and %.6f\n  %s\n\n",
                c.bold, dir, c.off, sg_play_n_parameters(p), (long long)sg_play_epoch(p),
                sg_play_loss(p, SG_PLAY_TRAIN), sg_play_loss(p, SG_PLAY_TEST), state);
            print_values(g);
        }
    }
    sg_graph_free(g);
    sg_play_free(p);
    return code;
}

int cmd_inspect(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, ADAPTED_OPTIONS, {"help", no_argument, NULL, 'h'}, {0}};
    adapted added = {0};
    bool json = false;
    sg_error err = {SG_OK, ""};
    sg_model *m = NULL;
    sg_graph *g = NULL;

    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (o == '?')
            return EXIT_USAGE;
        if (adapted_option(&added, o, optarg))
            continue;
        json = true;
    }
    if (optind + 1 != argc)
        return cli_usage("inspect", "wanted one MODEL, got %d", argc - optind);
    if (is_play(argv[optind]))
        return inspect_play(argv[optind], json);
    if (adapted_open(&m, argv[optind], sg_model_defaults(), &added, false, &err) != SG_OK) {
        if (!json && show_file(argv[optind]))
            printf("This file is no model that can be run here:\n");
        return cli_fail(&err);
    }
    int status;
    if (sg_model_graph(&g, m, 0, 1, &err) != SG_OK) {
        status = cli_fail(&err);
    } else {
        cli_warnings(m);
        status = json ? as_json(m, g) : for_people(m, g);
    }
    sg_graph_free(g);
    sg_model_close(m);
    return status;
}
