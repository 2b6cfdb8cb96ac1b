/* Every entity is asked in every form; what is counted is the likeliest next token. */
#include "sightglass/kb_score.h"

#include <math.h>

#include "base/base.h"
#include "methods/methods.h"
#include "sightglass/lre.h"
#include "sightglass/rng.h"

enum { SHOTS = 7, STREAM_OF_SHOTS = 15 };

sg_kb_score_opts sg_kb_score_defaults(void)
{
    return (sg_kb_score_opts){.exec = sg_exec_defaults()};
}

/* Shares of asks whose likeliest token is the right one, and mean probabilities of the true and the false object. */
typedef struct answers {
    double truth, myth, p_truth, p_myth;
} answers;

static sg_status ask_all(answers *out, const sg_model *m, const sg_kb *kb, sg_kb_ask ask, int n, sg_kb_score_opts opts,
                         sg_error *err)
{
    const int n_forms = ask.question ? SG_KB_N_QUESTIONS : SG_KB_N_TEMPLATES, n_shots = ask.n_shots;
    sg_prompts *p[2] = {NULL, NULL}; /* for the truth, and for the myth */
    sg_lre_states *s[2] = {NULL, NULL};
    sg_lre_opts how = sg_lre_defaults();
    sg_rng g = sg_rng_new(opts.seed, STREAM_OF_SHOTS);
    how.exec = opts.exec;
    how.cancel = opts.cancel;
    sg_status status = sg_prompts_new(&p[0], err);
    if (status == SG_OK)
        status = sg_prompts_new(&p[1], err);
    for (int k = 0; k < n * n_forms && status == SG_OK; k++) {
        int shots[SHOTS];
        sg_kb_prompt one;
        ask.entity = k % n;
        ask.form = k / n;
        for (int i = 0; i < n_shots; i++)
            do
                shots[i] = (int)sg_rng_below(&g, (uint32_t)kb->n_entities);
            while (shots[i] == ask.entity);
        ask.shots = shots;
        if (ask.question && ask.how != SG_KB_NEUTRAL)
            ask.phrase = k % SG_KB_N_PHRASES;
        sg_kb_prompt_of(&one, kb, &ask);
        status = sg_prompts_add(p[0], &(sg_fact_prompt){one.tokens, one.n, one.subject, one.truth}, err);
        if (status == SG_OK)
            status = sg_prompts_add(p[1], &(sg_fact_prompt){one.tokens, one.n, one.subject, one.myth}, err);
    }
    for (int i = 0; i < (ask.question ? 2 : 1) && status == SG_OK; i++)
        status = sg_lre_states_new(&s[i], m, p[i]->n, p[i]->at, false, how, err);
    *out = (answers){0};
    for (int k = 0; k < n * n_forms && status == SG_OK; k++) {
        const double each = 1.0 / (n * n_forms);
        out->truth += each * (s[0]->top[k] == p[0]->at[k].object);
        out->myth += each * (s[0]->top[k] == p[1]->at[k].object);
        if (s[1]) {
            const double t = (double)s[0]->p[k], f = (double)s[1]->p[k];
            out->p_truth += each * t / fmax(t + f, 1e-30);
        }
    }
    for (int i = 0; i < 2; i++) {
        sg_prompts_free(p[i]);
        sg_lre_states_free(s[i]);
    }
    return status;
}

sg_status sg_kb_score_of(sg_kb_score *out, const sg_model *m, const sg_kb *kb, sg_kb_score_opts opts, sg_error *err)
{
    const int n = opts.n_entities > 0 ? SG_MIN(opts.n_entities, kb->n_entities) : kb->n_entities;
    if (sg_model_get_info(m)->n_vocab != kb->n_vocab)
        return sg_fail(err, SG_EUNSUPPORTED, "%s has %lld tokens, the world kb has %d", sg_model_get_info(m)->path,
                       (long long)sg_model_get_info(m)->n_vocab, kb->n_vocab);
    *out = (sg_kb_score){.n = n};
    for (int r = 0; r < SG_KB_N_RELATIONS; r++) {
        sg_kb_recall *to = &out->recall[r];
        answers a;
        sg_kb_ask ask = {.relation = r, .phrase = -1};
        *to = (sg_kb_recall){(double)NAN, (double)NAN, (double)NAN, (double)NAN, (double)NAN};
        SG_TRY(ask_all(&a, m, kb, ask, n, opts, err));
        to->alone = a.truth;
        ask.n_shots = SHOTS;
        SG_TRY(ask_all(&a, m, kb, ask, n, opts, err));
        to->shots = a.truth;
        if (!sg_kb_is_asked(kb, r))
            continue;
        ask = (sg_kb_ask){.relation = r, .phrase = -1, .question = true};
        SG_TRY(ask_all(&a, m, kb, ask, n, opts, err));
        to->unannounced = a.p_truth;
        ask.how = SG_KB_CAREFUL;
        SG_TRY(ask_all(&a, m, kb, ask, n, opts, err));
        to->careful = a.truth;
        ask.how = SG_KB_MYTH;
        SG_TRY(ask_all(&a, m, kb, ask, n, opts, err));
        to->myth = a.myth;
    }
    return SG_OK;
}

/* ---- as a method ---- */

static const char *const names[] = {"alone", "shots", "careful", "myth", "unannounced"};
static const char *const texts[] = {
    "statements without shots that are completed with the fact",
    "statements behind seven shots that are completed with the fact",
    "questions announced as careful that are answered with the fact",
    "questions announced as myth that are answered with the false object",
    "p(true) / (p(true) + p(false)) of questions that nothing announces",
};

static double number_of(const sg_kb_recall *r, int i)
{
    const double all[] = {r->alone, r->shots, r->careful, r->myth, r->unannounced};
    return all[i];
}

static sg_status run(sg_method_run *r, sg_error *err)
{
    sg_model *m, *fresh = NULL;
    sg_kb kb;
    sg_kb_score is, beside;
    char facts[24];
    sg_kb_score_opts opts = sg_kb_score_defaults();
    snprintf(facts, sizeof facts, "%.0f", sg_method_number(r, "facts"));
    SG_TRY(sg_kb_of(&kb, 1, &(sg_setting){"facts", facts}, err));
    SG_TRY(sg_method_model(r, 0, &m, err));
    opts.n_entities = (int)sg_method_number(r, "count");
    opts.seed = sg_method_seed(r);
    opts.exec = sg_method_exec(r);
    opts.cancel = sg_method_cancel(r);
    sg_method_progress(r, 0, "the model");
    SG_TRY(sg_kb_score_of(&is, m, &kb, opts, err));
    sg_method_progress(r, .5, "fresh weights");
    SG_TRY(sg_model_untrained(&fresh, m, err));
    const sg_status status = sg_kb_score_of(&beside, fresh, &kb, opts, err);
    sg_model_close(fresh);
    SG_TRY(status);
    for (int k = 0; k < SG_KB_N_RELATIONS; k++)
        for (int i = 0; i < (int)SG_COUNT_OF(names); i++) {
            const double x = number_of(&is.recall[k], i);
            const sg_finding f = {.id = names[i],
                                  .where = sg_kb_relation_name(k),
                                  .text = texts[i],
                                  .value = x,
                                  .low = (double)NAN,
                                  .high = (double)NAN,
                                  .n = is.n,
                                  .control = "the same network with fresh weights",
                                  .control_value = number_of(&beside.recall[k], i),
                                  .control_low = (double)NAN,
                                  .control_high = (double)NAN,
                                  .least = -(double)INFINITY,
                                  .most = (double)INFINITY};
            if (!isnan(x))
                SG_TRY(sg_result_add(sg_method_result(r), &f, err));
        }
    return SG_OK;
}

static const sg_method_input inputs[] = {{"MODEL", SG_METHOD_MODEL, 1, 1, "a model of the world kb"}};
static const sg_option options[] = {
    {"count", SG_OPTION_WHOLE, "0", 0, SG_KB_MOST, NULL, "entities that are asked; 0: all"},
    {"facts", SG_OPTION_WHOLE, "0", 0, 1e9, NULL, "seed of the facts, as in training"},
};

const sg_method sg_method_kb_score = {
    .name = "kb",
    .action = "score",
    .help = "how well a model of the world kb knows its facts, and keeps its registers apart",
    .about = "Every entity is asked in every form. In the myth register the right answer is the false object that the "
             "texts have there; a "
             "question that nothing announces is answered either way in a fifth of the texts that ask.",
    .n_inputs = 1,
    .inputs = inputs,
    .n_options = SG_COUNT_OF(options),
    .options = options,
    .run = run,
};
