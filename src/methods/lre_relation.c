/* Relations by name, as sources of prompts. */
#include <stdlib.h>
#include <string.h>

#include "methods/lre_internal.h"
#include "sightglass/kb.h"

typedef struct owned {
    sg_lre_relation face;
    sg_relation *file;
    const sg_tokenizer *tokenizer;
    sg_kb kb;
    int which, form; /* of the world kb; form is also a file's template */
    sg_lre_place at;
} owned;

static sg_status from_file(void *self, sg_prompts *to, int n_shots, const int *shots, int sample, sg_error *err)
{
    const owned *r = self;
    SG_TRY(sg_relation_prompt(to, r->file, r->tokenizer, r->form, n_shots, shots, sample, err));
    if (r->at == SG_LRE_AT_LAST)
        sg_prompts_place(to, to->n - 1, to->at[to->n - 1].n - 1);
    return SG_OK;
}

static sg_status from_kb(void *self, sg_prompts *to, int n_shots, const int *shots, int sample, sg_error *err)
{
    const owned *r = self;
    sg_kb_prompt p;
    const sg_kb_ask ask = {
        .relation = r->which, .entity = sample, .form = r->form, .phrase = -1, .n_shots = n_shots, .shots = shots};
    sg_kb_prompt_of(&p, &r->kb, &ask);
    return sg_prompts_add(to, &(sg_fact_prompt){p.tokens, p.n, r->at == SG_LRE_AT_LAST ? p.n - 1 : p.subject, p.truth},
                          err);
}

static sg_status open_kb(owned *r, const char *name, const sg_model *m, sg_error *err)
{
    SG_TRY(sg_kb_of(&r->kb, 0, NULL, err));
    r->which = 0;
    while (r->which < SG_KB_N_RELATIONS && strcmp(name, sg_kb_relation_name(r->which)) != 0)
        r->which++;
    if (r->which == SG_KB_N_RELATIONS)
        return sg_fail(err, SG_ENOTFOUND,
                       "the world kb has no relation \"%.60s\"; it has colour, region, language, chief and motto",
                       name);
    if (r->form < 0 || r->form >= SG_KB_N_TEMPLATES)
        return sg_fail(err, SG_EARG, "kb: template %d of %d", r->form, SG_KB_N_TEMPLATES);
    if (sg_model_get_info(m)->n_vocab != r->kb.n_vocab)
        return sg_fail(err, SG_EUNSUPPORTED, "%s has %lld tokens, the world kb has %d", sg_model_get_info(m)->path,
                       (long long)sg_model_get_info(m)->n_vocab, r->kb.n_vocab);
    r->face.source = (sg_lre_source){r->kb.n_entities, from_kb, r};
    r->face.name = sg_kb_relation_name(r->which);
    r->face.n_objects = r->kb.n_objects[r->which];
    return SG_OK;
}

static sg_status open_file(owned *r, const char *path, const sg_model *m, sg_error *err)
{
    SG_TRY(sg_relation_open(&r->file, path, err));
    r->tokenizer = sg_model_tokenizer(m);
    if (!r->tokenizer)
        return sg_fail(err, SG_EUNSUPPORTED, "%s has no tokenizer, and a relation is text", sg_model_get_info(m)->path);
    if (r->form < 0 || r->form >= r->file->n_templates)
        return sg_fail(err, SG_EARG, "%s: template %d of %d", path, r->form, r->file->n_templates);
    int32_t *tokens = malloc((size_t)r->file->n_samples * sizeof *tokens);
    if (!tokens)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    const sg_status status = sg_relation_tokens(tokens, &r->face.n_colliding, r->file, r->tokenizer, err);
    free(tokens);
    SG_TRY(status);
    r->face.source = (sg_lre_source){r->file->n_samples, from_file, r};
    r->face.name = r->file->name;
    r->face.file = r->file;
    r->face.n_objects = r->file->n_objects;
    return SG_OK;
}

sg_status sg_lre_relation_open(sg_lre_relation **out, const char *name, int template_index, sg_lre_place at,
                               const sg_model *m, sg_error *err)
{
    owned *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return sg_fail(err, SG_ENOMEM, "lre: out of memory");
    r->form = template_index;
    r->at = at;
    const sg_status status = strncmp(name, "kb:", 3) == 0 ? open_kb(r, name + 3, m, err) : open_file(r, name, m, err);
    if (status != SG_OK) {
        sg_lre_relation_free(&r->face);
        return status;
    }
    *out = &r->face;
    return SG_OK;
}

void sg_lre_relation_free(sg_lre_relation *r)
{
    owned *o = (owned *)r;
    if (!o)
        return;
    sg_relation_free(o->file);
    free(o);
}
