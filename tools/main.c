/* sightglass: the command. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "cmd_method.h"
#include "commit.h"
#include "sightglass/method.h"

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"othello", "play with a model that holds a board, watch the board, change its mind", cmd_othello},
    {"serve", "the page, and an interface for programs, over HTTP", cmd_serve},
    {"inspect", "what a model is made of: its sizes and the names of all its values", cmd_inspect},
    {"pull", "fetch a model from a hub; its name then stands for it in every command", cmd_pull},
    {"verify", "how exact a model is here: layer by layer, for each backend and number format", cmd_verify},
    {"golden", "write a model's values in f64, to verify against", cmd_golden},
    {"run", "run a model on text or tokens; read, feed, edit and differentiate its values", cmd_run},
    {"patch", "change a model's mind and see what follows: what probes read, or values of another run", cmd_patch},
    {"probe", "what can be read off inner values, beside what an untrained network gives: fit, eval, show", cmd_probe},
    {"saliency", "on which discs of the board inside a model a move rests", cmd_saliency},
    {"gan", "train a generator and a discriminator on points of the plane; open GAN Lab's model files", cmd_gan},
    {"net", "train a net of the Playground, whose addresses it reads; its losses, weights and field", cmd_net},
    {"generate", "write on from a text, with edits in place", cmd_generate},
    {"convert", "a model as a GGUF file or a folder, in another number format", cmd_convert},
    {"quantize", "a model in fewer bits, and what that cost each tensor", cmd_quantize},
    {"merge", "work low-rank adapters (LoRA) into a model's weights and write the model", cmd_merge},
    {"edits", "lists of edits: show, export as a control vector", cmd_edits},
    {"study", "ask one paper's question again: list, run", cmd_study},
    {"report", "the reports of studies as one page", cmd_report},
    {"train", "train a language model from nothing, on files or on a world", cmd_train},
    {"tpr", "take a probe's directions apart into squares and colours: fit, factor, show", cmd_tpr},
    {"world", "sample a synthetic world: list, sample", cmd_world},
    {"worldmodel", "whether a model holds a state of its world and uses it: five numbers, one verdict", cmd_worldmodel},
    {"harvest", "activations of a corpus to a folder of safetensors shards, resumable", cmd_harvest},
    {"lens", "what the stream says before each block (logit lens), and which parts wrote a logit", cmd_lens},
    {"heads", "what each attention head looks at, on a world: mine, yours, parity", cmd_heads},
    {"neurons", "which features of a world each MLP neuron fires on", cmd_neurons},
    {"attribution", "which heads and MLPs write what a saved probe reads", cmd_attribution},
};

static void help(FILE *to)
{
    fprintf(to, "usage: sightglass COMMAND ...\n\nA sight glass for neural networks: read any value of a model, put "
                "another in its "
                "place,\nsplice a function into it, differentiate anything by anything.\n\n");
    for (size_t i = 0; i < SG_COUNT_OF(commands); i++)
        fprintf(to, "  %-12s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\nmethods:\n");
    for (int i = 0; i < sg_method_count(); i++) { /* one line for each name, with its actions */
        const sg_method *m = sg_method_at(i);
        if (i && strcmp(sg_method_at(i - 1)->name, m->name) == 0)
            continue;
        fprintf(to, "  %-12s %s", m->name, m->help);
        for (int k = i + 1; k < sg_method_count() && strcmp(sg_method_at(k)->name, m->name) == 0; k++)
            fprintf(to, "%s%s", k == i + 1 ? "; also: " : ", ", sg_method_at(k)->action);
        fputc('\n', to);
    }
    fprintf(to, "\nsightglass COMMAND --help tells the options of a command.\n");
}

int main(int argc, char **argv)
{
    static char title[40];

    if (argc < 2) {
        help(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("sightglass 0.1.0 (%s)\n", SG_COMMIT);
        return 0;
    }
    const char *nearest = commands[0].name;
    for (size_t i = 0; i < SG_COUNT_OF(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            snprintf(title, sizeof title, "sightglass %s", commands[i].name);
            argv[1] = title;
            return commands[i].run(argc - 1, argv + 1);
        }
        if (sg_edit_distance(argv[1], commands[i].name) < sg_edit_distance(argv[1], nearest))
            nearest = commands[i].name;
    }
    if (sg_method_find(argv[1], NULL)) {
        const char *name = argv[1];
        snprintf(title, sizeof title, "sightglass %s", name);
        argv[1] = title;
        return cmd_method(name, argc - 1, argv + 1);
    }
    for (int i = 0; i < sg_method_count(); i++)
        if (sg_edit_distance(argv[1], sg_method_at(i)->name) < sg_edit_distance(argv[1], nearest))
            nearest = sg_method_at(i)->name;
    fprintf(stderr, "sightglass: no command is called \"%.60s\"; the nearest is %s\n", argv[1], nearest);
    return EXIT_USAGE;
}
