/* sightglass train: a language model from nothing, on files or on a world; or a network of convolutions on a world of images. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "recipe.h"
#include "sightglass/checkpoint.h"
#include "sightglass/corpus.h"
#include "sightglass/learner.h"
#include "sightglass/metrics.h"
#include "sightglass/ranks.h"
#include "sightglass/world.h"
#include "train_images.h"

static const char help[] =
    "usage: sightglass train --config config.json --data FILE --out DIR [options]\n"
    "       sightglass train --config config.json --world NAME [world's options] [--data FILE] --out DIR [options]\n\n"
    "Trains a language model from nothing. DIR becomes a model that inspect, run and generate open, and\n"
    "holds the checkpoints from which --resume goes on, to the same bytes as if it had never stopped.\n"
    "Ctrl-C saves a checkpoint first; a second one ends at once.\n\n"
    "A world of images with labels (shapes) trains a network of convolutions instead (--config: a convnet, see docs/encoders.md),\n"
    "without checkpoints; --steps, --batch, --lr, --schedule (cosine), --warmup, --weight-decay, --save-dtype, --backend and\n"
    "--seed say how, and DIR also gets its accuracy on other images beside that of fresh weights.\n\n"
    "Under mpirun -n N each of the N processes takes its share of every batch; the outcome is that of one process,\n"
    "up to rounding, and --resume takes any number of them. --batch and --accumulate are those of the whole.\n\n"
    "  --config FILE         sizes of the model, as Hugging Face writes them (gpt2, llama)\n"
    "  --data FILE           tokens (.npy, .safetensors[:NAME]; i32 [time] or [rows,time]) or text; may be repeated\n"
    "  --tokenizer FILE      tokenizer.json, for text; becomes part of the model\n"
    "  --world NAME          sequences drawn from a world (see below); with --data those of a file, one a line, that "
    "the\n"
    "                        world reads (may be .gz), such as Othello games: f5d6c3...\n"
    "  --out DIR             where checkpoints and the model go\n"
    "  --steps N             in all, those before --resume counted (1000)\n"
    "  --batch N             rows that are computed at once (8)\n"
    "  --context N           tokens of a row (the model's context, or what the data has)\n"
    "  --accumulate N        batches that make one step, as if they were one (1)\n"
    "  --lr X                learning rate (0.001)\n"
    "  --schedule S          constant; linear or cosine, which end at 0; wsd: constant, but for a straight descent in "
    "the\n"
    "                        last steps, so that --steps may be changed until then (constant)\n"
    "  --decay N             wsd: steps of that descent (a fifth of --steps)\n"
    "  --warmup N            steps in which the rate climbs (0)\n"
    "  --weight-decay X      of matrices; not of biases, gains and embeddings (0)\n"
    "  --clip X              longest gradient, as a norm over all weights (1; inf: any)\n"
    "  --dtype f32|bf16      what large products multiply in; sums, weights and all else stay f32 (f32)\n"
    "  --save-dtype f32|bf16 what the model's matrices are stored as; checkpoints are f32 (f32)\n"
    "  --backend B           cpu; reference, the kernels that the others are tested against; cuda, an NVIDIA GPU\n"
    "                        (SIGHTGLASS_BACKEND, else cpu)\n"
    "  --recompute           keep only what enters each block until its gradient, and compute the rest again:\n"
    "                        less memory, about a third more time\n"
    "  --average X           the model is a running average of the weights with this decay (0: the weights)\n"
    "  --seed N              of the first weights and of the data's order (0)\n"
    "  --save-every N        steps between checkpoints (1000)\n"
    "  --keep K              checkpoints to keep (3)\n"
    "  --resume              go on from the newest checkpoint in DIR\n"
    "  --no-overlap          sum gradients over processes after the backward pass, not while it goes on\n"
    "  --metrics FILE        a line of JSON per step: loss, lr, grad_norm, tokens_per_second, seconds\n"
    "  --dry-run             print the memory that it takes, and what one step then takes; train nothing\n"
    "  --json                the summary for machines\n";

typedef struct settings {
    const char *config, *tokenizer, *out, *metrics, *schedule, *backend;
    const char **data;
    int n_data;
    const sg_world *world;
    sg_setting *of_world;
    int n_of_world;
    long long steps, batch, context, accumulate, warmup, seed, save_every, keep, decay;
    double lr, weight_decay, clip, average;
    sg_dtype compute, stored;
    bool resume, recompute, no_overlap, dry_run, json;
    int argc; /* as typed */
    char **argv;
} settings;

/* Numbers are read by this table; their places in it are what getopt gives, from here on. */
enum { FIRST_NUMBER = 1000, FIRST_OF_WORLD = 2000 };
static const struct number {
    const char *name;
    size_t place;
    bool real;
    double least, most;
} numbers[] = {
    {"steps", offsetof(settings, steps), false, 0, INT32_MAX},
    {"batch", offsetof(settings, batch), false, 1, 1 << 20},
    {"context", offsetof(settings, context), false, 2, 1 << 26},
    {"accumulate", offsetof(settings, accumulate), false, 1, 1 << 20},
    {"warmup", offsetof(settings, warmup), false, 0, INT32_MAX},
    {"decay", offsetof(settings, decay), false, 0, INT32_MAX},
    {"seed", offsetof(settings, seed), false, 0, 1e18},
    {"save-every", offsetof(settings, save_every), false, 1, INT32_MAX},
    {"keep", offsetof(settings, keep), false, 1, 1 << 20},
    {"lr", offsetof(settings, lr), true, 0, 1e6},
    {"weight-decay", offsetof(settings, weight_decay), true, 0, 1e6},
    {"clip", offsetof(settings, clip), true, 1e-30, (double)INFINITY},
    {"average", offsetof(settings, average), true, 0, 1},
};
static const struct option words[] = {
    {"config", required_argument, NULL, 'c'},
    {"data", required_argument, NULL, 'd'},
    {"tokenizer", required_argument, NULL, 't'},
    {"world", required_argument, NULL, 'w'},
    {"out", required_argument, NULL, 'o'},
    {"schedule", required_argument, NULL, 's'},
    {"metrics", required_argument, NULL, 'm'},
    {"resume", no_argument, NULL, 'r'},
    {"dtype", required_argument, NULL, 'y'},
    {"save-dtype", required_argument, NULL, 'Y'},
    {"backend", required_argument, NULL, 'b'},
    {"recompute", no_argument, NULL, 'R'},
    {"no-overlap", no_argument, NULL, 'O'},
    {"dry-run", no_argument, NULL, 'n'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* ---- what was asked ---- */

static void print_help(void)
{
    fputs(help, stdout);
    for (int w = 0; w < sg_world_count(); w++) {
        const sg_world *world = sg_world_at(w);
        if (!world->tokens && !train_images_can(world))
            continue;
        printf("\nworld %s: %s\n", world->name, world->help);
        for (int i = 0; i < world->n_options; i++)
            printf("  --%-19s %s (%s)\n", world->options[i].name, world->options[i].help, world->options[i].standard);
    }
}

/* The options of the world count among the command's, so the world has to be known first. */
static sg_status find_world(settings *s, int argc, char **argv, sg_error *err)
{
    for (int i = 1; i < argc; i++) {
        const char *name = strncmp(argv[i], "--world=", 8) == 0              ? argv[i] + 8
                           : strcmp(argv[i], "--world") == 0 && i + 1 < argc ? argv[i + 1]
                                                                             : NULL;
        if (name && !(s->world = sg_world_find(name, err)))
            return err->status = SG_EARG; /* a word of the user's, not a file */
    }
    return SG_OK;
}

static struct option *all_options(const settings *s)
{
    const int n_of_world = s->world ? s->world->n_options : 0;
    struct option *all = calloc(SG_COUNT_OF(words) + SG_COUNT_OF(numbers) + (size_t)n_of_world + 1, sizeof *all);
    int n = 0;
    for (size_t i = 0; all && i < SG_COUNT_OF(words); i++)
        all[n++] = words[i];
    for (size_t i = 0; all && i < SG_COUNT_OF(numbers); i++)
        all[n++] = (struct option){numbers[i].name, required_argument, NULL, FIRST_NUMBER + (int)i};
    for (int i = 0; all && i < n_of_world; i++)
        all[n++] = (struct option){s->world->options[i].name, required_argument, NULL, FIRST_OF_WORLD + i};
    return all;
}

static sg_status read_number(settings *s, const struct number *n, sg_error *err)
{
    char name[40];
    void *at = (char *)s + n->place;
    snprintf(name, sizeof name, "--%s", n->name);
    return n->real ? cli_real(name, optarg, n->least, n->most, at, err)
                   : cli_whole(name, optarg, (long long)n->least, (long long)n->most, at, err);
}

/* -1: go on; else the exit status. */
static int read_options(settings *s, int argc, char **argv)
{
    sg_error err = {SG_OK, ""};
    sg_status status = find_world(s, argc, argv, &err);
    struct option *options = status == SG_OK ? all_options(s) : NULL;
    if (status == SG_OK && !options)
        status = sg_fail(&err, SG_ENOMEM, "out of memory");
    int code = -1;
    for (int o; status == SG_OK && code < 0 && (o = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        switch (o) {
        case 'c':
            s->config = optarg;
            break;
        case 'd':
            s->data[s->n_data++] = optarg;
            break;
        case 't':
            s->tokenizer = optarg;
            break;
        case 'w': /* found before */
            break;
        case 'o':
            s->out = optarg;
            break;
        case 's':
            s->schedule = optarg;
            break;
        case 'm':
            s->metrics = optarg;
            break;
        case 'r':
            s->resume = true;
            break;
        case 'R':
            s->recompute = true;
            break;
        case 'y':
        case 'Y':
            *(o == 'y' ? &s->compute : &s->stored) = strcmp(optarg, "bf16") == 0 ? SG_BF16 : SG_F32;
            if (strcmp(optarg, "bf16") != 0 && strcmp(optarg, "f32") != 0)
                return cli_usage("train", "--%sdtype is \"%.20s\", wanted f32 or bf16", o == 'y' ? "" : "save-",
                                 optarg);
            break;
        case 'b':
            s->backend = optarg;
            break;
        case 'O':
            s->no_overlap = true;
            break;
        case 'n':
            s->dry_run = true;
            break;
        case 'j':
            s->json = true;
            break;
        case 'h':
            print_help();
            code = 0;
            break;
        default:
            if (o >= FIRST_OF_WORLD)
                s->of_world[s->n_of_world++] = (sg_setting){s->world->options[o - FIRST_OF_WORLD].name, optarg};
            else if (o >= FIRST_NUMBER)
                status = read_number(s, &numbers[o - FIRST_NUMBER], &err);
            else
                code = EXIT_USAGE;
        }
    }
    free(options);
    if (status != SG_OK)
        return cli_fail(&err);
    if (code >= 0)
        return code;
    if (optind < argc)
        return cli_usage("train", "\"%.60s\" belongs to no option", argv[optind]);
    if (!s->config)
        return cli_usage("train", "wanted --config, the sizes of the model");
    if (!s->n_data && !s->world)
        return cli_usage("train", "wanted --data or --world");
    if (s->n_data && s->world && !s->world->read)
        return cli_usage("train", "--data: no files of the world %s are known", s->world->name);
    if (s->n_data > 1 && s->world)
        return cli_usage("train", "wanted one --data with --world, not %d", s->n_data);
    if (!s->out && !s->dry_run)
        return cli_usage("train", "wanted --out, where the model goes");
    return -1;
}

/* ---- the work ---- */

typedef struct work {
    const settings *s;
    sg_ranks *ranks; /* NULL where this process is alone */
    bool stopped;    /* on all ranks, because one was interrupted */
    sg_model *model;
    sg_corpus *corpus;
    sg_world_file file;
    sg_source source;
    char data[300]; /* the source in words */
    const char *backend;
    sg_exec_opts exec;
    sg_learner *learner;
    sg_metrics *metrics;
    double began, shown;
    sg_dim first_step; /* of this process */
    sg_train_progress last;
} work;

/* One line that is written over, on a terminal only, ten times a second. */
static void show(work *w, const sg_train_progress *at)
{
    const double now = sg_now(), done = (double)at->steps_done / (double)w->s->steps;
    if (now - w->shown < 0.1 && at->steps_done < w->s->steps)
        return;
    w->shown = now;
    const int full = (int)(done * 24);
    const double left = (double)(w->s->steps - at->steps_done) / at->rate;
    fprintf(stderr, "\r[%.*s%*s] step %" PRId64 " of %lld  loss %.4g  %.4g tokens/s  ", full,
            "########################", 24 - full, "", at->steps_done, w->s->steps, at->loss,
            at->rate * (double)sg_learner_tokens(w->learner));
    if (left < 120)
        fprintf(stderr, "%.0f s left \033[K", left);
    else if (left < 7200)
        fprintf(stderr, "%.0f min left \033[K", left / 60);
    else
        fprintf(stderr, "%.1f h left \033[K", left / 3600);
}

static void on_step(void *context, const sg_train_progress *at)
{
    work *w = context;
    w->last = *at;
    w->last.seconds = sg_now() - w->began; /* of the whole, not since the last checkpoint */
    if (w->metrics)
        sg_metrics_write(w->metrics, &w->last, (double)sg_learner_tokens(w->learner));
    if (isatty(STDERR_FILENO))
        show(w, at);
}

static void end_line(void)
{
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
}

static void on_refused(void *context, const char *reason)
{
    (void)context;
    fprintf(stderr, "sightglass: warning: refused %s\n", reason);
}

/* Rank 0 speaks for all: they have agreed on what went wrong. */
static int fail(const work *w, const sg_error *err)
{
    return sg_ranks_index(w->ranks) == 0 ? cli_fail(err) : cli_status(err);
}

/* `n` bytes of w->data are written. */
static sg_status open_world_file(work *w, int n, sg_error *err)
{
    const settings *s = w->s;
    SG_TRY(sg_world_file_read(&w->file, s->world, s->n_of_world, s->of_world, s->data[0], err));
    n = SG_MIN(n, (int)sizeof w->data - 1);
    snprintf(w->data + n, sizeof w->data - (size_t)n, " sequences %" PRId64 " hash %016" PRIx64, w->file.tokens.dims[0],
             w->file.hash);
    sg_source_free(&w->source);
    return sg_world_file_source(&w->source, &w->file, s->batch, (uint64_t)s->seed, err);
}

static sg_status open_world(work *w, sg_error *err)
{
    const settings *s = w->s;
    const sg_model_info *in = sg_model_get_info(w->model);
    sg_dim n_vocab;
    /* Made also where a file takes its place, for the checks of its options. */
    SG_TRY(
        sg_world_source(&w->source, s->world, s->n_of_world, s->of_world, s->batch, (uint64_t)s->seed, &n_vocab, err));
    const sg_dim time = w->source.field[0].dims[1];
    if (s->context && s->context != time)
        return sg_fail(err, SG_EARG, "--context is %lld, the world's sequences have %" PRId64 " tokens", s->context,
                       time);
    if (n_vocab > in->n_vocab)
        return sg_fail(err, SG_EARG, "%s: the vocabulary is %" PRId64 ", the world %s needs %" PRId64, s->config,
                       in->n_vocab, s->world->name, n_vocab);
    double *option = calloc((size_t)s->world->n_options + 1, sizeof *option);
    if (!option)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    const sg_status status = sg_options_parse(option, s->world->name, s->world->n_options, s->world->options,
                                              s->n_of_world, s->of_world, err);
    int n = snprintf(w->data, sizeof w->data, "world %s", s->world->name);
    for (int i = 0; i < s->world->n_options && n < (int)sizeof w->data; i++)
        n += snprintf(w->data + n, sizeof w->data - (size_t)n, " %s %.9g", s->world->options[i].name, option[i]);
    free(option);
    SG_TRY(status);
    return s->n_data ? open_world_file(w, n, err) : SG_OK;
}

static sg_status open_files(work *w, sg_error *err)
{
    const settings *s = w->s;
    const sg_model_info *in = sg_model_get_info(w->model);
    SG_TRY(sg_corpus_new(&w->corpus, err));
    for (int i = 0; i < s->n_data; i++)
        SG_TRY(sg_corpus_add(w->corpus, s->data[i], sg_model_tokenizer(w->model), err));
    const sg_corpus_info info = sg_corpus_get_info(w->corpus);
    if (info.greatest >= in->n_vocab)
        return sg_fail(err, SG_EARG, "%s: the vocabulary is %" PRId64 ", the data have token %" PRIi32, s->config,
                       in->n_vocab, info.greatest);
    const sg_dim time = s->context ? s->context : SG_MIN(in->n_context, info.time);
    snprintf(w->data, sizeof w->data, "tokens %" PRId64 " hash %016" PRIx64, info.n_tokens, info.hash);
    return sg_corpus_source(&w->source, w->corpus, s->batch, time, (uint64_t)s->seed, err);
}

static sg_status open_inputs(work *w, sg_schedule *schedule, sg_error *err)
{
    const settings *s = w->s;
    schedule->lr = s->lr;
    schedule->warmup = s->warmup;
    schedule->n_steps = s->steps;
    schedule->decay = s->decay < 0 ? s->steps / 5 : s->decay;
    if (s->schedule)
        SG_TRY(sg_schedule_kind_of(&schedule->kind, s->schedule, err));
    SG_TRY(sg_schedule_check(schedule, err));
    SG_TRY(sg_model_new(&w->model, s->config, s->tokenizer, sg_model_defaults(), err));
    return s->world ? open_world(w, err) : open_files(w, err);
}

static sg_status prepare(work *w, sg_error *err)
{
    const settings *s = w->s;
    sg_learner_opts opts = sg_learner_defaults();
    if (s->backend)
        SG_TRY(sg_ranks_agree(w->ranks, sg_exec_use(&opts.exec, s->backend, err), err));
    w->backend = sg_exec_name(&opts.exec);
    SG_TRY(sg_ranks_agree(w->ranks, open_inputs(w, &opts.schedule, err), err));
    opts.update.adam.weight_decay = s->weight_decay;
    opts.update.clip = s->clip;
    opts.update.average = s->average;
    opts.update.n_batches = s->accumulate;
    opts.seed = (uint64_t)s->seed;
    opts.exec.compute = s->compute;
    opts.stored = s->stored;
    opts.exec.keep = s->recompute ? "blocks.*.hook_resid_pre" : NULL;
    opts.data = w->data;
    opts.progress = on_step;
    opts.context = w;
    opts.cancel = &interrupted;
    opts.ranks = w->ranks;
    opts.overlap = !s->no_overlap;
    w->exec = opts.exec;
    return sg_learner_new(&w->learner, w->model, &w->source, opts, err);
}

/* ---- the dry run ---- */

/* Some seconds, and well within what is free. */
static bool is_cheap(const work *w, size_t bytes)
{
    const double operations =
        6 * (double)sg_model_get_info(w->model)->n_parameters * (double)sg_learner_tokens(w->learner);
    const double free_bytes = (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return operations < 3e11 && (double)bytes < 0.5 * free_bytes;
}

static int dry_run(work *w)
{
    sg_error err = {SG_OK, ""};
    sg_learner_memory m;
    if (sg_ranks_agree(w->ranks, sg_learner_plan_memory(w->learner, &m, &err), &err) != SG_OK)
        return fail(w, &err);
    const size_t tokens = w->corpus ? sg_corpus_get_info(w->corpus).bytes : 0, before = cli_resident();
    const struct {
        const char *key, *text;
        size_t bytes;
    } parts[] = {{"weights", "weights", m.weights},
                 {"moments", "the optimiser's moments", m.moments},
                 {"averages", "averaged weights", m.averages},
                 {"gathered", "gradients of several batches", m.gathered},
                 {"blocks", "activations and gradients", m.blocks},
                 {"batches", "batches, read ahead", m.batches},
                 {"tokens", "the data", tokens},
                 {"program", "the program with its plans", before > tokens ? before - tokens : 0}};
    size_t total = 0, measured = 0;
    for (size_t i = 0; i < SG_COUNT_OF(parts); i++)
        total += parts[i].bytes;
    double cheap = before && is_cheap(w, total);
    sg_ranks_sum(w->ranks, 1, &cheap);
    if (cheap == sg_ranks_count(w->ranks)) {
        if (sg_learner_run(w->learner, 1, &err) != SG_OK)
            return fail(w, &err);
        end_line();
        measured = cli_resident();
    }
    if (sg_ranks_index(w->ranks) > 0)
        return 0;
    const double parameters = (double)sg_model_get_info(w->model)->n_parameters;
    if (w->s->json) {
        json_t *root = json_pack("{s:f, s:I}", "parameters", parameters, "tokens_per_step",
                                 (json_int_t)sg_learner_tokens(w->learner));
        for (size_t i = 0; i < SG_COUNT_OF(parts); i++) {
            char key[40];
            snprintf(key, sizeof key, "%s_bytes", parts[i].key);
            json_object_set_new(root, key, json_integer((json_int_t)parts[i].bytes));
        }
        json_object_set_new(root, "total_bytes", json_integer((json_int_t)total));
        json_object_set_new(root, "measured_bytes", measured ? json_integer((json_int_t)measured) : json_null());
        return cli_print_json(root);
    }
    printf("%.4g parameters, %" PRId64 " tokens a step\n\n", parameters, sg_learner_tokens(w->learner));
    for (size_t i = 0; i < SG_COUNT_OF(parts); i++)
        if (parts[i].bytes)
            printf("  %-32s %10.1f MB\n", parts[i].text, (double)parts[i].bytes / 1e6);
    printf("  %-32s %10.1f MB\n", "together", (double)total / 1e6);
    if (measured)
        printf("  %-32s %10.1f MB\n", "measured after one step", (double)measured / 1e6);
    else
        printf("\nNot measured: a step takes too long or too much of what is free.\n");
    return 0;
}

/* ---- training ---- */

static sg_status make_folder(const settings *s, sg_error *err)
{
    if (mkdir(s->out, 0777) != 0 && errno != EEXIST)
        return sg_fail(err, SG_EIO, "%s: cannot be made: %s", s->out, strerror(errno));
    const sg_dim newest = sg_checkpoint_newest(s->out);
    if (!s->resume && newest >= 0)
        return sg_fail(err, SG_EARG,
                       "%s holds a checkpoint of step %" PRId64 ": --resume goes on from it, or name another --out",
                       s->out, newest);
    return SG_OK;
}

static sg_status take_folder(work *w, sg_error *err)
{
    const settings *s = w->s;
    const bool first = sg_ranks_index(w->ranks) == 0;
    SG_TRY(sg_ranks_agree(w->ranks, first ? make_folder(s, err) : SG_OK, err));
    if (s->resume)
        SG_TRY(sg_learner_resume(w->learner, s->out, on_refused, NULL, err));
    w->first_step = sg_learner_step(w->learner);
    const bool open = s->metrics && first;
    return sg_ranks_agree(w->ranks, open ? sg_metrics_open(&w->metrics, s->metrics, w->first_step, err) : SG_OK, err);
}

/* Whether any rank was interrupted. */
static bool any_interrupted(work *w)
{
    double n = interrupted;
    sg_ranks_sum(w->ranks, 1, &n);
    return n > 0;
}

/* Up to the last step, or to an interruption, after which there is a checkpoint too. */
static sg_status run_and_save(work *w, sg_error *err)
{
    const settings *s = w->s;
    w->stopped = any_interrupted(w);
    for (sg_dim step = sg_learner_step(w->learner); step < s->steps && !w->stopped;
         step = sg_learner_step(w->learner)) {
        const sg_dim next = SG_MIN(step - step % s->save_every + s->save_every, s->steps);
        const sg_status status = sg_learner_run(w->learner, next - step, err);
        if (status != SG_OK && status != SG_ECANCELLED)
            return status;
        SG_TRY(sg_learner_save(w->learner, s->out, (int)s->keep, err));
        w->stopped = any_interrupted(w);
    }
    return w->stopped ? SG_OK : sg_learner_export(w->learner, s->out, err);
}

/* After the metrics are closed. */
static sg_status write_recipe(const work *w, sg_error *err)
{
    const settings *s = w->s;
    const sg_dim step = sg_learner_step(w->learner);
    const sg_exec_opts exec = w->exec;
    const recipe r = {.argc = s->argc - 1,
                      .argv = s->argv + 1,
                      .data = w->data,
                      .backend = w->backend,
                      .dtype = sg_dtype_name(s->compute),
                      .threads = exec.n_threads,
                      .processes = sg_ranks_count(w->ranks),
                      .parameters = sg_model_get_info(w->model)->n_parameters,
                      .steps = step,
                      .rows = step * s->accumulate * s->batch,
                      .tokens = step * sg_learner_tokens(w->learner),
                      .loss = sg_learner_loss(w->learner),
                      .metrics = s->metrics,
                      .seconds = sg_now() - w->began};
    if (w->stopped || sg_ranks_index(w->ranks) > 0)
        return SG_OK;
    return recipe_write(&r, s->out, err);
}

static int summary(const work *w)
{
    const sg_dim step = sg_learner_step(w->learner), n = step - w->first_step;
    const double tokens = (double)n * (double)sg_learner_tokens(w->learner), seconds = sg_now() - w->began;
    if (w->s->json)
        return cli_print_json(json_pack("{s:s, s:I, s:I, s:o, s:f, s:f, s:f, s:s, s:s}", "out", w->s->out, "step",
                                        (json_int_t)step, "steps_now", (json_int_t)n, "loss",
                                        n ? json_real(sg_learner_loss(w->learner)) : json_null(), "tokens", tokens,
                                        "seconds", seconds, "tokens_per_second", seconds > 0 ? tokens / seconds : 0.0,
                                        "ended_by", w->stopped ? "interrupted" : "steps", "backend", w->backend));
    if (w->stopped)
        fprintf(stderr, "sightglass: stopped at step %" PRId64 " of %lld, which %s holds; --resume goes on\n", step,
                w->s->steps, w->s->out);
    else if (n)
        printf("%s: %" PRId64 " steps, loss %.4f, %.3g tokens in %.1f s (%s)\n", w->s->out, step,
               sg_learner_loss(w->learner), tokens, seconds, w->backend);
    else
        printf("%s: step %" PRId64 ", there was nothing left to do\n", w->s->out, step);
    return 0;
}

static int train(work *w)
{
    sg_error err = {SG_OK, ""};
    struct sigaction stop = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    w->began = sg_now();
    sg_status status = take_folder(w, &err);
    if (status == SG_OK) {
        cli_catch(on_interrupt);
        if (w->ranks) /* mpirun passes it on to all, and unlike an interruption gives them time */
            sigaction(SIGUSR1, &stop, NULL);
        status = run_and_save(w, &err);
        end_line();
    }
    sg_error closing;
    const sg_status closed = sg_ranks_agree(w->ranks, sg_metrics_close(w->metrics, &closing), &closing);
    if (status != SG_OK)
        return fail(w, &err);
    if (closed != SG_OK)
        return fail(w, &closing);
    if (sg_ranks_agree(w->ranks, write_recipe(w, &err), &err) != SG_OK)
        return fail(w, &err);
    const int code = sg_ranks_index(w->ranks) == 0 ? summary(w) : 0;
    return code == 0 && w->stopped ? 130 : code;
}

static int run(const settings *s, sg_ranks *ranks)
{
    sg_error err = {SG_OK, ""};
    work w = {.s = s, .ranks = ranks};
    w.began = sg_now();
    cli_signals_apart();
    int code = prepare(&w, &err) != SG_OK ? fail(&w, &err) : s->dry_run ? dry_run(&w) : train(&w);
    sg_learner_free(w.learner);
    sg_source_free(&w.source);
    sg_corpus_free(w.corpus);
    sg_world_file_free(&w.file);
    sg_model_close(w.model);
    return code;
}

static int images(const settings *s)
{
    const train_images_ask ask = {.config = s->config,
                                  .out = s->out,
                                  .backend = s->backend,
                                  .schedule = s->schedule,
                                  .world = s->world,
                                  .n_settings = s->n_of_world,
                                  .settings = s->of_world,
                                  .steps = s->steps,
                                  .batch = s->batch,
                                  .warmup = s->warmup,
                                  .decay = s->decay,
                                  .seed = (uint64_t)s->seed,
                                  .lr = s->lr,
                                  .weight_decay = s->weight_decay,
                                  .stored = s->stored,
                                  .json = s->json,
                                  .argc = s->argc,
                                  .argv = s->argv,
                                  .cancel = &interrupted};

    if (s->n_data || s->resume || s->dry_run || s->metrics || s->tokenizer)
        return cli_usage("train", "--data, --tokenizer, --resume, --dry-run and --metrics are of language models; the world %s has images",
                         s->world->name);
    cli_catch(on_interrupt);
    return train_images(&ask);
}

int cmd_train(int argc, char **argv)
{
    settings s = {
        .steps = 1000, .batch = 8, .accumulate = 1, .save_every = 1000, .keep = 3, .decay = -1, .lr = 1e-3, .clip = 1};
    sg_ranks *ranks;
    sg_error err;
    if (sg_ranks_open(&ranks, &err) != SG_OK)
        return cli_fail(&err);
    s.argc = argc;
    s.argv = argv;
    s.data = calloc((size_t)argc + 1, sizeof *s.data);
    s.of_world = calloc((size_t)argc + 1, sizeof *s.of_world);
    cli_hush *hush = cli_hush_begin(sg_ranks_index(ranks) > 0);
    int code = s.data && s.of_world ? read_options(&s, argc, argv) : EXIT_FAILED;
    cli_hush_end(hush);
    if (code < 0 && s.world && train_images_can(s.world))
        code = images(&s);
    else if (code < 0)
        code = run(&s, ranks);
    free(s.data);
    free(s.of_world);
    sg_ranks_close(ranks);
    return code;
}
