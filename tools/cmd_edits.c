/* sightglass edits: lists of edits between the forms in which others have them. */
#include <stdlib.h>
#include <string.h>

#include "adapted.h"
#include "sightglass/control_vector.h"

static const char help[] =
    "usage: sightglass edits export EDITS.json --control-vector OUT.gguf [--model-hint NAME] [--json]\n"
    "       sightglass edits show (EDITS.json | --control-vector FILE[=STRENGTH] ...) [--json]\n\n"
    "export writes edits that add vectors behind blocks as a control vector, which llama.cpp reads too.\n"
    "show lists edits; with --json as a list that --edits takes, also those of control vectors.\n\n" ADAPTED_VECTOR_HELP
    "  --model-hint NAME     kept in the file: the kind of model it is for (\"llama\")\n"
    "  --json                for machines\n";

static json_t *edit_json(const sg_edit *e)
{
    json_t *numbers = json_array();

    for (sg_dim i = 0; e->value.data && i < sg_tensor_count(&e->value); i++)
        json_array_append_new(numbers, json_real(sg_tensor_get(&e->value, i)));
    return json_pack("{s:s, s:s, s:o, s:f}", "site", e->site, "op", sg_edit_op_name(e->op), "value", numbers,
                     "strength", e->strength);
}

static int show(sg_edit_list *list, bool json)
{
    json_t *all = json ? json_array() : NULL;
    char shape[SG_SHAPE_TEXT];

    for (int i = 0; i < sg_edit_list_count(list); i++) {
        const sg_edit *e = sg_edit_list_at(list, i);
        if (all)
            json_array_append_new(all, edit_json(e));
        else
            printf("%3d  %-8s %-40s %-16s strength %g\n", i, sg_edit_op_name(e->op), e->site,
                   e->value.data ? sg_shape_text(shape, e->value.n_dims, e->value.dims) : "-", e->strength);
    }
    return all ? cli_print_json(all) : 0;
}

int cmd_edits(int argc, char **argv)
{
    static const struct option options[] = {ADAPTED_OPTIONS,
                                            {"model-hint", required_argument, NULL, 'm'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *hint = NULL;
    adapted added = {0};
    bool json = false;
    sg_edit_list *list = NULL;
    sg_error err = {SG_OK, ""};

    for (int o; (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (o == 'm')
            hint = optarg;
        else if (o == 'j')
            json = true;
        else if (!adapted_option(&added, o, optarg))
            return EXIT_USAGE;
    }
    const char *verb = optind < argc ? argv[optind] : "";
    const bool exports = strcmp(verb, "export") == 0;
    if ((!exports && strcmp(verb, "show") != 0) || added.n_loras || added.n_saes)
        return cli_usage("edits", "wanted export or show");
    if (exports && (optind + 2 != argc || added.n_vectors != 1))
        return cli_usage("edits", "export wants EDITS.json and one --control-vector OUT.gguf");
    if (!exports && (optind + 2 < argc || (optind + 1 == argc && !added.n_vectors)))
        return cli_usage("edits", "show wants EDITS.json or --control-vector FILE");
    sg_status status;
    int code = 0;
    if (exports) {
        status = sg_edit_list_open(&list, argv[optind + 1], &err);
        if (status == SG_OK)
            status = sg_control_vector_save(added.vectors[0], list, hint, &err);
        if (status == SG_OK && json)
            code = cli_print_json(json_pack("{s:s, s:i}", "out", added.vectors[0], "edits", sg_edit_list_count(list)));
        else if (status == SG_OK)
            printf("%s: a control vector of %d edits\n", added.vectors[0], sg_edit_list_count(list));
    } else {
        status = adapted_edits(&list, optind + 1 < argc ? argv[optind + 1] : NULL, &added, &err);
        if (status == SG_OK)
            code = show(list, json);
    }
    sg_edit_list_free(list);
    return status == SG_OK ? code : cli_fail(&err);
}
