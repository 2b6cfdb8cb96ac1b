/* Chat templates: the public functions, and what each rendering is given. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "io/template_internal.h"
#include "io/tokenizer_internal.h"

sg_status sg_tpl_fail(sg_tpl *t, sg_status status, const char *fmt, ...)
{
    char text[480];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++) /* names in a broken template may be anything */
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    return sg_fail(t->err, status, "%s: line %d: %s", t->name, t->line, text);
}

sg_status sg_tpl_step(sg_tpl *t, int64_t n)
{
    t->steps += n;
    return t->steps > SG_TPL_STEPS ? sg_tpl_fail(t, SG_EUNSUPPORTED, "takes more than %d steps", SG_TPL_STEPS) : SG_OK;
}

/* ---- rendering ---- */

static sg_status render(sg_tpl *t, const char *source, json_t *variables, sg_str *out)
{
    sg_tpl_token *tokens;
    sg_tpl_node *body;
    sg_tpl_value vars;
    sg_tpl_scope globals = {0};
    SG_TRY(sg_tpl_lex(t, source, &tokens));
    SG_TRY(sg_tpl_parse(t, tokens, &body));
    t->line = 1;
    SG_TRY(sg_tpl_of_json(t, variables, 0, &vars));
    globals.vars = *vars.map;
    t->globals = t->scope = &globals;
    sg_str_puts(out, "");
    SG_TRY(sg_tpl_run(t, body, out));
    return out->failed ? sg_tpl_fail(t, SG_ENOMEM, "out of memory") : SG_OK;
}

/* variables: an object, borrowed. */
static sg_status render_json(char **out, const char *source, const char *name, json_t *variables, int64_t now,
                             sg_error *err)
{
    sg_str text = {0};
    sg_tpl t = {.name = name, .line = 1, .err = err, .now = now, .arena = sg_arena_new()};
    *out = NULL;
    sg_status status =
        t.arena ? render(&t, source, variables, &text) : sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    sg_arena_free(t.arena);
    /* A NUL that JSON brought in would end the text. */
    if (status == SG_OK && strlen(text.text) != text.bytes)
        status = sg_fail(err, SG_EARG, "%s: the result holds a NUL", name);
    if (status == SG_OK)
        *out = text.text;
    else
        sg_str_free(&text);
    return status;
}

static sg_status parse(json_t **out, const char *json, const char *what, bool list, sg_error *err)
{
    json_error_t why;
    *out = json_loads(json, 0, &why);
    if (!*out)
        return sg_json_refused(what, &why, err);
    if (list ? json_is_array(*out) : json_is_object(*out))
        return SG_OK;
    json_decref(*out);
    *out = NULL;
    return sg_fail(err, SG_EARG, "%s: not a JSON %s", what, list ? "list" : "object");
}

sg_status sg_template_render(char **out, const char *source, const char *name, const char *variables, int64_t now,
                             sg_error *err)
{
    json_t *vars;
    *out = NULL;
    SG_TRY(parse(&vars, variables, "variables", false, err));
    const sg_status status = render_json(out, source, name, vars, now, err);
    json_decref(vars);
    return status;
}

/* ---- chats ---- */

sg_chat_opts sg_chat_defaults(void)
{
    return (sg_chat_opts){.add_generation_prompt = true, .now = -1};
}

static bool put_token(json_t *vars, const sg_tokenizer *t, const char *name, int32_t id)
{
    const char *text = sg_tokenizer_token(t, id);
    return !text || json_object_set_new(vars, name, json_string(text)) == 0;
}

/* What a template sees beside the messages, which stay the caller's. */
static sg_status render_chat(char **out, const sg_tokenizer *t, json_t *messages, sg_chat_opts opts, sg_error *err)
{
    const char *source = sg_tokenizer_chat_template(t);
    const sg_special_ids ids = sg_tokenizer_specials(t);
    json_t *tools = NULL, *more = NULL;
    if (!source)
        return sg_fail(err, SG_ENOTFOUND, "the tokenizer has no chat template");
    sg_status status = opts.tools ? parse(&tools, opts.tools, "tools", true, err) : SG_OK;
    if (status == SG_OK && opts.variables)
        status = parse(&more, opts.variables, "variables", false, err);
    json_t *vars = json_object();
    const bool made =
        vars && json_object_set(vars, "messages", messages) == 0 &&
        json_object_set_new(vars, "add_generation_prompt", json_boolean(opts.add_generation_prompt)) == 0 &&
        json_object_set_new(vars, "tools", tools ? json_incref(tools) : json_null()) == 0 &&
        json_object_set_new(vars, "documents", json_null()) == 0 && put_token(vars, t, "bos_token", ids.bos) &&
        put_token(vars, t, "eos_token", ids.eos) && put_token(vars, t, "unk_token", ids.unk) &&
        put_token(vars, t, "pad_token", ids.pad) && put_token(vars, t, "sep_token", ids.sep) &&
        put_token(vars, t, "cls_token", ids.cls) && put_token(vars, t, "mask_token", ids.mask) &&
        (!more || json_object_update(vars, more) == 0);
    if (status == SG_OK && !made)
        status = sg_fail(err, SG_ENOMEM, "out of memory for a chat");
    if (status == SG_OK)
        status = render_json(out, source, "chat template", vars, opts.now, err);
    json_decref(vars);
    json_decref(tools);
    json_decref(more);
    return status;
}

sg_status sg_chat_render(char **out, const sg_tokenizer *t, int n_messages, const sg_chat_message *messages,
                         sg_chat_opts opts, sg_error *err)
{
    json_t *list = json_array();
    *out = NULL;
    bool made = list != NULL;
    for (int i = 0; i < n_messages && made; i++) {
        sg_str role = {0}, content = {0};
        sg_str_puts(&role, "");
        sg_str_puts(&content, "");
        sg_utf8_repair(&role, messages[i].role, strlen(messages[i].role));
        sg_utf8_repair(&content, messages[i].content, strlen(messages[i].content));
        made = !role.failed && !content.failed &&
               json_array_append_new(list, json_pack("{s:s, s:s}", "role", role.text, "content", content.text)) == 0;
        sg_str_free(&role);
        sg_str_free(&content);
    }
    const sg_status status =
        made ? render_chat(out, t, list, opts, err) : sg_fail(err, SG_ENOMEM, "out of memory for a chat");
    json_decref(list);
    return status;
}

sg_status sg_chat_render_json(char **out, const sg_tokenizer *t, const char *messages, sg_chat_opts opts, sg_error *err)
{
    json_t *list;
    *out = NULL;
    SG_TRY(parse(&list, messages, "messages", true, err));
    const sg_status status = render_chat(out, t, list, opts, err);
    json_decref(list);
    return status;
}
