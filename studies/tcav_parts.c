/* Training with captions, concepts as sets of drawn images, and the tests. */
#include "tcav_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sightglass/statistics.h"

const char *const tcav_wrong[TCAV_NETS] = {"0", "0.3", "1"};

enum { FULL_STEPS = 1500, FREE = 500, MAPS = 30 };

/* A set of drawn images at a site of a network. */
typedef struct rows {
    sg_dim n, width;
    float *acts, *gradients;
} rows;

static void rows_free(rows *r)
{
    free(r->acts);
    free(r->gradients);
    *r = (rows){0};
}

/* n images of a kind: what they hold, class `only` (-1: all). gradients: of logit `label`, or -1: none are wanted. */
static sg_status draw(rows *r, const tcav_study *s, sg_attributer *a, sg_dim n, const char *content,
                      const char *captions, int only, uint64_t seed, int label)
{
    char number[8];
    snprintf(number, sizeof number, "%d", only);
    const sg_setting settings[3] = {{"content", content}, {"captions", captions}, {"only", number}};
    const int n_settings = only >= 0 ? 3 : 2;
    sg_sample *images = NULL;
    *r = (rows){.n = n, .width = sg_attributer_width(a, INT64_MAX)};
    r->acts = malloc((size_t)(n * r->width) * sizeof *r->acts);
    r->gradients = label >= 0 ? malloc((size_t)(n * r->width) * sizeof *r->gradients) : NULL;
    int32_t *index = malloc((size_t)n * sizeof *index);
    sg_status status = r->acts && index && (label < 0 || r->gradients)
                           ? shape_images(&images, n_settings, settings, (int)n, seed, s->err)
                           : sg_fail(s->err, SG_ENOMEM, "out of memory for %lld images", (long long)n);
    if (status == SG_OK) {
        for (sg_dim k = 0; k < n; k++)
            index[k] = label >= 0 ? label : 0;
        const sg_named_feed f = {"pixels", *sg_sample_find(images, "pixels")};
        const sg_attribute_rows all = {.n = n, .n_feeds = 1, .feeds = &f, .index = index, .batch = 64};
        status = sg_attributer_run(a, &all, INT64_MAX, r->acts, r->gradients, NULL, s->opts->cancel, s->err);
    }
    free(index);
    sg_sample_free(images);
    if (status != SG_OK)
        rows_free(r);
    return status;
}

static sg_tcav_job job_of(const tcav_study *s, const rows *pool, const rows *class_images)
{
    sg_tcav_job j = sg_tcav_defaults();
    j.width = pool->width;
    j.random = (sg_tcav_set){"random", pool->n, pool->acts};
    j.n_class = class_images->n;
    j.gradients = class_images->gradients;
    j.set_size = s->set_size;
    j.n_repeats = s->n_repeats;
    j.n_resamples = 200;
    j.cav.exec = s->opts->exec;
    j.cancel = s->opts->cancel;
    return j;
}

/* Both concepts of class k, by one test. */
static sg_status one_class(tcav_study *s, tcav_net *net, sg_attributer *a, const rows *pool, int k, uint64_t seed)
{
    rows sets[CONCEPTS] = {{0}}, images = {0};
    sg_tcav_result *r = NULL;
    const sg_dim n = (sg_dim)s->n_repeats * s->set_size;
    sg_status status = draw(&sets[CAPTION], s, a, n, "captions", "none", k, seed + 10, -1);
    if (status == SG_OK)
        status = draw(&sets[IMAGE], s, a, n, "shapes", "room", k, seed + 11, -1);
    if (status == SG_OK) /* what the network sees in earnest: shape and caption, which agree */
        status = draw(&images, s, a, s->n_class, "shapes", "written", k, seed + 12, k);
    if (status == SG_OK) {
        const sg_tcav_set concepts[CONCEPTS] = {{"caption", n, sets[CAPTION].acts}, {"image", n, sets[IMAGE].acts}};
        sg_tcav_job j = job_of(s, pool, &images);
        j.concepts = concepts;
        j.n_concepts = CONCEPTS;
        j.n_tests = CONCEPTS * SHAPE_CLASSES;
        status = sg_tcav_test(&r, &j, s->err);
    }
    for (int c = 0; c < CONCEPTS && status == SG_OK; c++) {
        net->score[c][k] = r->concepts[c].score;
        net->significant[c][k] = r->concepts[c].significant;
        net->cav_accuracy[c] += r->concepts[c].accuracy / SHAPE_CLASSES;
    }
    if (status == SG_OK)
        net->random += r->random_score / SHAPE_CLASSES;
    sg_tcav_free(r);
    rows_free(&sets[CAPTION]);
    rows_free(&sets[IMAGE]);
    rows_free(&images);
    return status;
}

/* Concepts that are random themselves, of the network that reads captions: how often the test says significant. */
static sg_status random_concepts(tcav_study *s, tcav_seed *d, sg_attributer *a)
{
    const sg_dim n = (sg_dim)s->n_repeats * s->set_size;
    int passed[2] = {0};
    rows images = {0};
    SG_TRY(draw(&images, s, a, s->n_class, "shapes", "written", 0, d->seed + 12, 0));
    sg_status status = SG_OK;
    for (int k = 0; k < s->n_random_tests && status == SG_OK; k++) {
        rows own = {0}, pool = {0};
        sg_tcav_result *r = NULL;
        status = draw(&own, s, a, n, "textures", "none", -1, d->seed + 1000 + 2 * (uint64_t)k, -1);
        if (status == SG_OK)
            status = draw(&pool, s, a, 3 * n, "textures", "none", -1, d->seed + 1001 + 2 * (uint64_t)k, -1);
        if (status == SG_OK) {
            const sg_tcav_set two[2] = {{"sets of its own", n, own.acts}, {"one set", s->set_size, own.acts}};
            sg_tcav_job j = job_of(s, &pool, &images);
            j.concepts = two;
            j.n_concepts = 2;
            j.level *= 2; /* so that Bonferroni's two makes .05 of each */
            status = sg_tcav_test(&r, &j, s->err);
        }
        for (int c = 0; c < 2 && status == SG_OK; c++)
            passed[c] += r->concepts[c].significant;
        sg_tcav_free(r);
        rows_free(&own);
        rows_free(&pool);
        if (status == SG_OK)
            status = shape_progress(s->opts, "random concepts", (k + 1.0) / s->n_random_tests, s->err);
    }
    rows_free(&images);
    d->false_fresh = (double)passed[0] / s->n_random_tests;
    d->false_shared = (double)passed[1] / s->n_random_tests;
    return status;
}

/* The caption's score at the pixels of networks that learnt nothing. */
static sg_status untrained(tcav_study *s, tcav_seed *d, const sg_model *like)
{
    double scores[64];
    const sg_attribute_target target = sg_attribute_target_defaults();
    for (int k = 0; k < s->n_fresh; k++) {
        sg_model *m;
        sg_attributer *a = NULL;
        rows caption = {0}, random = {0}, images = {0};
        sg_cav *c = NULL;
        SG_TRY(sg_convnet_fresh(&m, like, d->seed * 100 + (uint64_t)k, s->err));
        sg_status status = sg_attributer_model(&a, m, "pixels", &target, 0, s->opts->exec, s->err);
        if (status == SG_OK)
            status = draw(&caption, s, a, 4 * s->set_size, "captions", "none", k % SHAPE_CLASSES, d->seed + 20, -1);
        if (status == SG_OK)
            status = draw(&random, s, a, 4 * s->set_size, "textures", "none", -1, d->seed + 21, -1);
        if (status == SG_OK)
            status = draw(&images, s, a, s->n_class, "shapes", "written", k % SHAPE_CLASSES, d->seed + 22,
                          k % SHAPE_CLASSES);
        if (status == SG_OK) {
            const sg_tcav_set sets[2] = {{"caption", caption.n, caption.acts}, {"random", random.n, random.acts}};
            sg_cav_opts o = sg_cav_defaults();
            o.exec = s->opts->exec;
            status = sg_cav_fit(&c, caption.width, &sets[0], &sets[1], &o, s->err);
        }
        double *slopes = malloc((size_t)s->n_class * sizeof *slopes);
        if (status == SG_OK && slopes) {
            sg_cav_sensitivities(slopes, c, images.n, images.gradients);
            scores[k] = sg_cav_score(images.n, slopes);
        }
        free(slopes);
        sg_cav_free(c);
        rows_free(&caption);
        rows_free(&random);
        rows_free(&images);
        sg_attributer_free(a);
        sg_model_close(m);
        SG_TRY(status);
    }
    d->untrained_mean = sg_stats_mean(s->n_fresh, scores);
    d->untrained_spread = sg_stats_deviation(s->n_fresh, scores);
    return SG_OK;
}

/* How much of the smooth maps of captioned images lies in the caption. */
static sg_status caption_share(tcav_study *s, tcav_net *net, const sg_model *m, uint64_t seed)
{
    const sg_attribute_target target = sg_attribute_target_defaults();
    const sg_setting settings[1] = {{"captions", "written"}};
    sg_attribute_opts o = sg_attribute_defaults();
    sg_attributer *a;
    sg_sample *images = NULL;
    double places[SHAPE_PIXELS];
    SG_TRY(sg_attributer_model(&a, m, "pixels", &target, 0, s->opts->exec, s->err));
    sg_status status = shape_images(&images, 1, settings, MAPS, seed + 30, s->err);
    o.kind = SG_ATTRIBUTE_SMOOTH;
    for (int i = 0; i < MAPS && status == SG_OK; i++) {
        sg_attribute_map *map;
        const bool *mask = shape_mask(images, "caption_mask") + i * SHAPE_PIXELS;
        const sg_named_feed f = {"pixels",
                                 sg_tensor_of(SG_F32, 4, (sg_dim[]){1, 1, SHAPE_SIDE, SHAPE_SIDE},
                                              (float *)sg_sample_find(images, "pixels")->data + i * SHAPE_PIXELS)};
        const sg_attribute_input in = {.n_feeds = 1, .feeds = &f, .index = shape_labels(images)[i]};
        status = sg_attribute(&map, a, &in, &o, s->err);
        if (status != SG_OK)
            break;
        sg_attribute_places(places, map, SG_REDUCE_ABS_SUM);
        sg_attribute_map_free(map);
        net->in_caption += sg_attribute_inside(SHAPE_PIXELS, places, mask) / MAPS;
        for (int p = 0; p < SHAPE_PIXELS; p++)
            net->caption_area += mask[p] / (double)(MAPS * SHAPE_PIXELS);
    }
    sg_sample_free(images);
    sg_attributer_free(a);
    return status;
}

static sg_status measure_net(tcav_study *s, tcav_seed *d, int which, const sg_model *m)
{
    tcav_net *net = &d->nets[which];
    const sg_attribute_target target = sg_attribute_target_defaults();
    const sg_setting room = {"captions", "room"};
    sg_sample *images;
    sg_attributer *a;
    rows pool = {0};
    SG_TRY(shape_images(&images, 1, &room, FREE, d->seed + 40, s->err));
    sg_status status = shape_accuracy(&net->accuracy, m, images, s->opts->exec, s->err);
    sg_sample_free(images);
    SG_TRY(status);
    SG_TRY(caption_share(s, net, m, d->seed));
    SG_TRY(sg_attributer_model(&a, m, s->site, &target, 0, s->opts->exec, s->err));
    const sg_dim n = (sg_dim)s->n_repeats * s->set_size;
    status = draw(&pool, s, a, 3 * n, "textures", "none", -1, d->seed + 13, -1);
    for (int k = 0; k < SHAPE_CLASSES && status == SG_OK; k++) {
        status = one_class(s, net, a, &pool, k, d->seed + 100 * (uint64_t)(k + 1));
        if (status == SG_OK)
            status = shape_progress(s->opts, "concepts", (k + 1.0) / SHAPE_CLASSES, s->err);
    }
    net->rows_for_tests = sg_attributer_n_rows_run(a, false);
    net->rows_once = 3 * n + SHAPE_CLASSES * (2 * n + s->n_class);
    if (status == SG_OK && which == 0)
        status = random_concepts(s, d, a);
    rows_free(&pool);
    sg_attributer_free(a);
    return status;
}

sg_status tcav_measure(tcav_study *s, int i)
{
    tcav_seed *d = &s->seeds[i];
    sg_study_opts three = *s->opts; /* one model cannot stand for three */
    three.model = NULL;
    d->seed = s->opts->seed + (uint64_t)i;
    for (int which = 0; which < TCAV_NETS; which++) {
        static const char *const shipped[TCAV_NETS] = {"captions-0", "captions-30", "captions-100"};
        const sg_setting settings[2] = {{"captions", "written"}, {"wrong", tcav_wrong[which]}};
        sg_model *m;
        if (s->opts->full)
            SG_TRY(shape_net(&m, s->opts, "training", 2, settings, FULL_STEPS, d->seed, s->err));
        else /* those that ship; seeds are of examples */
            SG_TRY(sg_study_model(&m, &three, shipped[which], s->err));
        sg_status status = measure_net(s, d, which, m);
        if (status == SG_OK && which == 0)
            status = untrained(s, d, m);
        sg_model_close(m);
        SG_TRY(status);
    }
    return SG_OK;
}
