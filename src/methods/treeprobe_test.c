/* Structural probes: exact on embeddings that are exact, recovered where they are turned and noisy, nothing on other
 * trees. */
#include "sightglass/treeprobe.h"

#include "check.h"
#include "sightglass/rng.h"

enum { SENTENCES = 120, MOST = 9, WIDE = 20 };

typedef struct drawn {
    sg_trees trees;
    int32_t head[SENTENCES * MOST];
    sg_dim first[SENTENCES + 1];
    float f[SENTENCES * MOST * MOST]; /* [N,MOST]: each link has a direction of its own, a word is the sum on its way */
    float x[SENTENCES * MOST * WIDE]; /* f, beside noise, mixed into WIDE components */
} drawn;

/* Words are attached to earlier or later ones at random, so that position tells little. */
static void draw(drawn *d, uint64_t seed)
{
    sg_rng r = sg_rng_new(seed, 1), mix = sg_rng_new(99, 2);
    float by[WIDE * WIDE], own[WIDE];
    sg_dim n_rows = 0;
    for (int i = 0; i < WIDE * WIDE; i++)
        by[i] = (float)sg_rng_normal(&mix);
    for (int a = 0; a < WIDE; a++) { /* orthonormal rows, by Gram and Schmidt */
        double length = 0;
        for (int b = 0; b < a; b++) {
            double both = 0;
            for (int c = 0; c < WIDE; c++)
                both += (double)(by[a * WIDE + c] * by[b * WIDE + c]);
            for (int c = 0; c < WIDE; c++)
                by[a * WIDE + c] -= (float)both * by[b * WIDE + c];
        }
        for (int c = 0; c < WIDE; c++)
            length += (double)(by[a * WIDE + c] * by[a * WIDE + c]);
        for (int c = 0; c < WIDE; c++)
            by[a * WIDE + c] /= (float)sqrt(length);
    }
    memset(d, 0, sizeof *d);
    for (int s = 0; s < SENTENCES; s++) {
        const int n = 5 + (int)sg_rng_below(&r, MOST - 4);
        int order[MOST];
        for (int i = 0; i < n; i++) {
            const int j = (int)sg_rng_below(&r, (uint32_t)i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        d->first[s] = n_rows;
        for (int i = 0; i < n; i++) {
            const int word = order[i], head = i ? order[sg_rng_below(&r, (uint32_t)i)] : -1;
            float *f = d->f + (n_rows + word) * MOST;
            d->head[n_rows + word] = head;
            if (i)
                memcpy(f, d->f + (n_rows + head) * MOST, MOST * sizeof *f);
            f[word] += i > 0;
        }
        n_rows += n;
    }
    d->first[SENTENCES] = n_rows;
    for (sg_dim i = 0; i < n_rows; i++) {
        for (int k = 0; k < WIDE; k++) /* what is no tree is larger than what is */
            own[k] = k < MOST ? d->f[i * MOST + k] : (float)(2 * sg_rng_normal(&r));
        for (int c = 0; c < WIDE; c++) {
            double sum = 0;
            for (int k = 0; k < WIDE; k++)
                sum += (double)(own[k] * by[k * WIDE + c]);
            d->x[i * WIDE + c] = (float)sum;
        }
    }
    d->trees = (sg_trees){sg_tensor_of(SG_F32, 2, (sg_dim[]){n_rows, WIDE}, d->x), d->head, SENTENCES, d->first};
}

static void squared_distances_of_the_exact_embedding_are_the_tree(void **state)
{
    (void)state;
    static drawn d;
    int32_t links[MOST * MOST];
    sg_error err;
    sg_treeprobe_score score;
    draw(&d, 1);
    for (int s = 0; s < SENTENCES; s++) {
        const sg_dim n = d.first[s + 1] - d.first[s];
        CHECK_OK(sg_trees_distances(links, &d.trees, s, &err), &err);
        for (sg_dim i = 0; i < n; i++)
            for (sg_dim j = 0; j < n; j++) {
                double sum = 0;
                for (int c = 0; c < MOST; c++) {
                    const double off = (double)(d.f[(d.first[s] + i) * MOST + c] - d.f[(d.first[s] + j) * MOST + c]);
                    sum += off * off;
                }
                CHECK(sum == links[i * n + j]);
            }
    }
    float identity[MOST * MOST] = {0};
    for (int i = 0; i < MOST; i++)
        identity[i * MOST + i] = 1;
    const sg_treeprobe exact = {MOST, MOST, identity};
    sg_trees t = d.trees;
    t.acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){d.first[SENTENCES], MOST}, d.f);
    CHECK_OK(sg_treeprobe_judge(&score, &exact, &t, &err), &err);
    CHECK_NEAR(score.spearman, 1, 1e-12, 0);
    CHECK_NEAR(score.attached, 1, 0, 0);
    CHECK(score.by_position < .3 && score.chain < .5 && score.n_sentences == SENTENCES);
}

static void a_planted_map_is_recovered_and_other_trees_are_not(void **state)
{
    (void)state;
    static drawn train, held;
    static int32_t other[SENTENCES * MOST];
    sg_error err;
    sg_treeprobe *p;
    sg_treeprobe_score score, null, random;
    draw(&train, 1);
    draw(&held, 2);
    sg_treeprobe_opts opts = sg_treeprobe_defaults();
    opts.rank = WIDE;
    opts.epochs = 600;
    opts.lr = 2e-3;
    opts.exec.n_threads = 1;
    CHECK_OK(sg_treeprobe_fit(&p, &train.trees, opts, &err), &err);
    CHECK_OK(sg_treeprobe_judge(&score, p, &held.trees, &err), &err);
    /* Equal numbers of links are ties, which any noise tells apart: more than the exact map reaches on nearly exact
     * embeddings cannot be had. */
    float identity[MOST * MOST] = {0};
    sg_rng r = sg_rng_new(6, 1);
    sg_trees near_exact = held.trees;
    sg_treeprobe_score most;
    for (int i = 0; i < MOST; i++)
        identity[i * MOST + i] = 1;
    const sg_treeprobe exact = {MOST, MOST, identity};
    for (int i = 0; i < SENTENCES * MOST * MOST; i++)
        held.f[i] += (float)(1e-4 * sg_rng_normal(&r));
    near_exact.acts = sg_tensor_of(SG_F32, 2, (sg_dim[]){held.first[SENTENCES], MOST}, held.f);
    CHECK_OK(sg_treeprobe_judge(&most, &exact, &near_exact, &err), &err);
    CHECK(score.attached == 1 && score.spearman > most.spearman - .01 && score.spearman > .9);
    sg_treeprobe_free(p);
    /* The same activations with trees of other sentences. */
    CHECK_OK(sg_trees_permute(other, &train.trees, 3, &err), &err);
    sg_trees permuted = train.trees;
    permuted.head = other;
    CHECK_OK(sg_trees_check(&permuted, &err), &err);
    opts.epochs = 100;
    CHECK_OK(sg_treeprobe_fit(&p, &permuted, opts, &err), &err);
    CHECK_OK(sg_treeprobe_judge(&null, p, &held.trees, &err), &err);
    sg_treeprobe_free(p);
    CHECK(null.spearman < score.spearman - .2 && null.attached < .7);
    CHECK_OK(sg_treeprobe_random(&p, WIDE, WIDE, 4, &err), &err);
    CHECK_OK(sg_treeprobe_judge(&random, p, &held.trees, &err), &err);
    sg_treeprobe_free(p);
    CHECK(random.spearman < score.spearman);
}

/* Kruskal's way, by all pairs in order, gives the same weight. */
static void spanning_trees_weigh_what_kruskals_do(void **state)
{
    (void)state;
    enum { N = 25 };
    double far[N * N];
    int32_t up[N];
    sg_rng r = sg_rng_new(5, 1);
    sg_error err;
    for (int round = 0; round < 20; round++) {
        int part[N];
        double prim = 0, kruskal = 0, last = -1;
        for (int i = 0; i < N; i++) {
            part[i] = i;
            for (int j = 0; j <= i; j++) /* few values, so that many are equal */
                far[i * N + j] = far[j * N + i] = i == j ? 0 : 1 + sg_rng_below(&r, round % 2 ? 5 : 1000000);
        }
        CHECK_OK(sg_spanning_tree(up, far, N, &err), &err);
        for (int i = 1; i < N; i++) {
            CHECK(up[i] >= 0);
            prim += far[i * N + up[i]];
        }
        CHECK(up[0] == -1);
        for (int links = 0; links < N - 1;) {
            double next = HUGE_VAL;
            for (int i = 0; i < N * N; i++)
                if (far[i] > last && far[i] < next && i / N != i % N)
                    next = far[i];
            for (int i = 0; i < N * N; i++) {
                const int a = part[i / N], b = part[i % N];
                if (far[i] != next || a == b)
                    continue;
                for (int k = 0; k < N; k++)
                    part[k] = part[k] == b ? a : part[k];
                kruskal += next;
                links++;
            }
            last = next;
        }
        CHECK_NEAR(prim, kruskal, 0, 0);
    }
}

static void what_is_no_tree_is_refused(void **state)
{
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6};
    sg_error err;
    static const struct {
        int32_t head[3];
        const char *text;
    } bad[] = {{{-1, 0, 3}, "word 2 has the head 3"},
               {{-1, -1, 0}, "2 roots"},
               {{1, 2, 0}, "in a circle"},
               {{-1, 2, 1}, "in a circle"},
               {{-1, 1, 0}, "word 1 has the head 1"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const sg_trees t = {sg_tensor_of(SG_F32, 2, (sg_dim[]){3, 2}, x), bad[i].head, 1, (const sg_dim[]){0, 3}};
        CHECK_STATUS(sg_trees_check(&t, &err), SG_EARG);
        CHECK_TEXT(err.text, bad[i].text);
    }
    const sg_trees good = {sg_tensor_of(SG_F32, 2, (sg_dim[]){3, 2}, x), (const int32_t[]){-1, 0, 1}, 1,
                           (const sg_dim[]){0, 3}};
    sg_treeprobe_opts opts = sg_treeprobe_defaults();
    sg_treeprobe *p;
    CHECK_STATUS(sg_treeprobe_fit(&p, &good, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "rank 64 of 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(squared_distances_of_the_exact_embedding_are_the_tree),
        cmocka_unit_test(a_planted_map_is_recovered_and_other_trees_are_not),
        cmocka_unit_test(spanning_trees_weigh_what_kruskals_do),
        cmocka_unit_test(what_is_no_tree_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
