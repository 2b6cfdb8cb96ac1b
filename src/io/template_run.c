/* Running a template's tree: statements write, expressions give values. Every step is counted. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "io/template_internal.h"
#include "io/tokenizer_internal.h"

typedef enum { GO_ON, BREAK, CONTINUE } flow;

/* What a piece of text came to, for the node SG_TPL_N_BLANK, is a variable of this name. */
#define BLANK "{}"

static sg_status eval(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out);
static sg_status exec(sg_tpl *t, const sg_tpl_node *body, sg_str *out, flow *how);

/* ---- variables ---- */

static sg_tpl_value lookup(const sg_tpl *t, const char *name, size_t n)
{
    static const char *const functions[] = {"raise_exception", "strftime_now", "namespace", "range", "dict"};
    for (const sg_tpl_scope *s = t->scope; s; s = s->parent) {
        const sg_tpl_value *v = sg_tpl_get(&s->vars, name, n);
        if (v)
            return *v;
    }
    for (size_t i = 0; i < SG_COUNT_OF(functions); i++)
        if (strlen(functions[i]) == n && memcmp(functions[i], name, n) == 0)
            return (sg_tpl_value){.kind = SG_TPL_FUNCTION, .s = {functions[i], n}};
    return sg_tpl_undefined(name, n);
}

static sg_status set_variable(sg_tpl *t, const char *name, size_t n, sg_tpl_value value)
{
    return sg_tpl_put(t, &t->scope->vars, name, n, value);
}

/* One value to one name, or its items to several. */
static sg_status set_targets(sg_tpl *t, const sg_tpl_node *targets, const sg_tpl_value *value)
{
    if (!targets->next)
        return set_variable(t, targets->name, targets->n_name, *value);
    sg_tpl_list *list;
    size_t n = 0;
    SG_TRY(sg_tpl_iterate(t, value, &list));
    for (const sg_tpl_node *target = targets; target; target = target->next)
        n++;
    if (n != list->n)
        return sg_tpl_fail(t, SG_EFORMAT, "takes %zu values from %zu", n, list->n);
    n = 0;
    for (const sg_tpl_node *target = targets; target; target = target->next)
        SG_TRY(set_variable(t, target->name, target->n_name, list->items[n++]));
    return SG_OK;
}

/* ---- calls ---- */

static sg_status eval_args(sg_tpl *t, const sg_tpl_node *list, sg_tpl_args **out)
{
    SG_TRY(SG_TPL_ALLOC(t, out, sizeof **out));
    for (; list; list = list->next) {
        sg_tpl_value value;
        SG_TRY(eval(t, list->a, &value));
        if (list->name) {
            if ((*out)->n_named == SG_TPL_ARGS)
                return sg_tpl_fail(t, SG_EUNSUPPORTED, "a call with more than %d arguments", SG_TPL_ARGS);
            (*out)->named[(*out)->n_named].name = list->name;
            (*out)->named[(*out)->n_named].n_name = list->n_name;
            (*out)->named[(*out)->n_named++].value = value;
        } else {
            if ((*out)->n == SG_TPL_ARGS)
                return sg_tpl_fail(t, SG_EUNSUPPORTED, "a call with more than %d arguments", SG_TPL_ARGS);
            (*out)->at[(*out)->n++] = value;
        }
    }
    return SG_OK;
}

static sg_status raise(sg_tpl *t, const sg_tpl_args *args)
{
    char shown[400];
    sg_str text = {0};
    sg_str_puts(&text, "");
    sg_status status = args->n ? sg_tpl_write(t, &text, &args->at[0]) : SG_OK;
    if (status == SG_OK) {
        snprintf(shown, sizeof shown, "%s", text.failed ? "" : text.text);
        for (char *c = shown; *c != '\0'; c++)
            *c = (unsigned char)*c < 0x20 ? ' ' : *c;
        status = sg_tpl_fail(t, SG_EARG, "the template refuses: %s", shown);
    }
    sg_str_free(&text);
    return status;
}

static sg_status strftime_now(sg_tpl *t, const sg_tpl_args *args, sg_tpl_value *out)
{
    char format[256], text[1024];
    struct tm tm;
    if (args->n != 1 || args->at[0].kind != SG_TPL_STRING || args->at[0].s.n >= sizeof format)
        return sg_tpl_fail(t, SG_EFORMAT, "strftime_now wants one format");
    memcpy(format, args->at[0].s.text, args->at[0].s.n);
    format[args->at[0].s.n] = '\0';
    for (const char *s = format; *s != '\0'; s++) {
        if (*s == '%' && !strchr("aAbBcdDeFgGhHIjklmMnpPrRsSTtuUVwWxXyYzZC%-", s[1]))
            return sg_tpl_fail(t, SG_EUNSUPPORTED, "strftime_now(\"%s\")", format);
        s += *s == '%' && s[1] != '\0';
    }
    const time_t now = t->now < 0 ? time(NULL) : (time_t)t->now;
    if (!(t->now < 0 ? localtime_r(&now, &tm) : gmtime_r(&now, &tm)))
        return sg_tpl_fail(t, SG_EARG, "a time that no calendar has");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* checked above */
    const size_t n = strftime(text, sizeof text, format, &tm);
#pragma GCC diagnostic pop
    return sg_tpl_copy(t, text, n, out);
}

static sg_status make_map(sg_tpl *t, const sg_tpl_args *args, bool space, sg_tpl_value *out)
{
    SG_TRY(sg_tpl_new_map(t, out));
    out->map->space = space;
    if (args->n > 1 || (args->n == 1 && args->at[0].kind != SG_TPL_MAP))
        return sg_tpl_fail(t, SG_EFORMAT, "%s wants name=value", space ? "namespace" : "dict");
    for (size_t i = 0; args->n && i < args->at[0].map->n; i++) {
        const sg_tpl_entry *e = &args->at[0].map->entries[i];
        SG_TRY(sg_tpl_put(t, out->map, e->key, e->n_key, e->value));
    }
    for (int i = 0; i < args->n_named; i++)
        SG_TRY(sg_tpl_put(t, out->map, args->named[i].name, args->named[i].n_name, args->named[i].value));
    return SG_OK;
}

static sg_status make_range(sg_tpl *t, const sg_tpl_args *args, sg_tpl_value *out)
{
    int64_t v[3] = {0, 0, 1};
    if (args->n < 1 || args->n > 3 || args->n_named)
        return sg_tpl_fail(t, SG_EFORMAT, "range wants one to three whole numbers");
    for (int i = 0; i < args->n; i++)
        if (!sg_tpl_whole(&args->at[i], &v[args->n == 1 ? 1 : i]))
            return sg_tpl_fail(t, SG_EFORMAT, "range of %s", sg_tpl_kind_name(&args->at[i]));
    if (v[2] == 0 || v[0] < -(1 << 30) || v[0] > 1 << 30 || v[1] < -(1 << 30) || v[1] > 1 << 30 || v[2] < -(1 << 30) ||
        v[2] > 1 << 30)
        return sg_tpl_fail(t, SG_EFORMAT, "range with a step of 0 or numbers beyond 2^30");
    SG_TRY(sg_tpl_new_list(t, 0, out));
    for (int64_t i = v[0]; v[2] > 0 ? i < v[1] : i > v[1]; i += v[2])
        SG_TRY(sg_tpl_push(t, out->list, sg_tpl_int(i)));
    return SG_OK;
}

static sg_status call_function(sg_tpl *t, const sg_tpl_value *function, const sg_tpl_args *args, sg_tpl_value *out)
{
    switch (function->s.text[0]) {
    case 's':
        return strftime_now(t, args, out);
    case 'n':
        return make_map(t, args, true, out);
    case 'd':
        return make_map(t, args, false, out);
    default:
        return function->s.text[2] == 'i' ? raise(t, args) : make_range(t, args, out);
    }
}

static sg_status bind_macro(sg_tpl *t, const sg_tpl_node *macro, const sg_tpl_args *args)
{
    int i = 0, n_used = 0;
    for (const sg_tpl_node *param = macro->list; param; param = param->next, i++) {
        sg_tpl_value value = sg_tpl_undefined(param->name, param->n_name);
        bool given = i < args->n;
        if (given)
            value = args->at[i];
        for (int k = 0; k < args->n_named; k++) {
            if (args->named[k].n_name == param->n_name &&
                memcmp(args->named[k].name, param->name, param->n_name) == 0) {
                value = args->named[k].value;
                given = true;
                n_used++;
            }
        }
        if (!given && param->a)
            SG_TRY(eval(t, param->a, &value));
        SG_TRY(set_variable(t, param->name, param->n_name, value));
    }
    if (args->n > i || args->n_named > n_used)
        return sg_tpl_fail(t, SG_EFORMAT, "the macro \"%.*s\" is called with arguments that it does not take",
                           (int)SG_MIN(macro->n_name, 40u), macro->name);
    return SG_OK;
}

static sg_status call_macro(sg_tpl *t, const sg_tpl_node *macro, const sg_tpl_args *args, sg_tpl_value *out)
{
    sg_tpl_scope scope = {.parent = t->globals}, *const caller = t->scope;
    const int line = t->line;
    sg_str text = {0};
    flow how = GO_ON;
    sg_str_puts(&text, "");
    t->scope = &scope;
    sg_status status = bind_macro(t, macro, args);
    if (status == SG_OK)
        status = exec(t, macro->body, &text, &how);
    t->scope = caller;
    if (status != SG_OK) {
        sg_str_free(&text);
        return status;
    }
    t->line = line;
    return sg_tpl_take(t, &text, out);
}

static sg_status eval_call(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    sg_tpl_args *args;
    sg_tpl_value on;
    const sg_tpl_node *callee = node->a;
    if (callee->kind == SG_TPL_N_MEMBER) {
        bool found = false;
        SG_TRY(eval(t, callee->a, &on));
        SG_TRY(eval_args(t, node->list, &args));
        t->line = node->line;
        SG_TRY(sg_tpl_method(t, &on, callee->name, callee->n_name, args, out, &found));
        if (found)
            return SG_OK;
        if (on.kind == SG_TPL_UNDEFINED)
            return sg_tpl_fail(t, SG_EFORMAT, "\"%.*s\" is not defined", (int)SG_MIN(on.s.n, 60u), on.s.text);
        const sg_tpl_value name = sg_tpl_text(callee->name, callee->n_name);
        sg_tpl_value member;
        SG_TRY(sg_tpl_member(t, &on, &name, &member));
        if (member.kind == SG_TPL_MACRO)
            return call_macro(t, member.macro, args, out);
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "the method \"%.*s\" of %s is not supported",
                           (int)SG_MIN(callee->n_name, 40u), callee->name, sg_tpl_kind_name(&on));
    }
    SG_TRY(eval(t, callee, &on));
    SG_TRY(eval_args(t, node->list, &args));
    t->line = node->line;
    if (on.kind == SG_TPL_MACRO)
        return call_macro(t, on.macro, args, out);
    if (on.kind == SG_TPL_FUNCTION)
        return call_function(t, &on, args, out);
    if (on.kind == SG_TPL_UNDEFINED)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "the function \"%.*s\" is not known", (int)SG_MIN(on.s.n, 60u),
                           on.s.text);
    return sg_tpl_fail(t, SG_EFORMAT, "calls %s", sg_tpl_kind_name(&on));
}

/* ---- operators ---- */

static sg_status needs_numbers(sg_tpl *t, const char *op, const sg_tpl_value *a, const sg_tpl_value *b)
{
    const sg_tpl_value *bad = a->kind == SG_TPL_UNDEFINED ? a : b;
    if (bad->kind == SG_TPL_UNDEFINED)
        return sg_tpl_fail(t, SG_EFORMAT, "\"%.*s\" is not defined", (int)SG_MIN(bad->s.n, 60u), bad->s.text);
    return sg_tpl_fail(t, SG_EFORMAT, "%s %s %s", sg_tpl_kind_name(a), op, sg_tpl_kind_name(b));
}

static sg_status join(sg_tpl *t, const sg_tpl_value *a, const sg_tpl_value *b, sg_tpl_value *out)
{
    sg_str text = {0};
    sg_str_puts(&text, "");
    sg_status status = sg_tpl_write(t, &text, a);
    if (status == SG_OK)
        status = sg_tpl_write(t, &text, b);
    if (status == SG_OK)
        return sg_tpl_take(t, &text, out);
    sg_str_free(&text);
    return status;
}

static sg_status repeat(sg_tpl *t, const sg_tpl_value *text, int64_t n, sg_tpl_value *out)
{
    char *copy;
    const size_t times = n < 0 ? 0 : (size_t)n;
    if (text->s.n && times > SG_TPL_OUTPUT / text->s.n)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "a text of more than %u MiB", SG_TPL_OUTPUT >> 20);
    SG_TRY(sg_tpl_step(t, (int64_t)(times * text->s.n / 16)));
    SG_TRY(SG_TPL_ALLOC(t, &copy, times * text->s.n));
    for (size_t i = 0; i < times; i++)
        memcpy(copy + i * text->s.n, text->s.text, text->s.n);
    *out = sg_tpl_text(copy, times * text->s.n);
    return SG_OK;
}

static sg_status add_lists(sg_tpl *t, const sg_tpl_list *a, const sg_tpl_list *b, sg_tpl_value *out)
{
    SG_TRY(sg_tpl_new_list(t, a->n + b->n, out));
    out->list->tuple = a->tuple;
    for (size_t i = 0; i < a->n; i++)
        SG_TRY(sg_tpl_push(t, out->list, a->items[i]));
    for (size_t i = 0; i < b->n; i++)
        SG_TRY(sg_tpl_push(t, out->list, b->items[i]));
    return SG_OK;
}

/* Python rounds towards less: the remainder has the divisor's sign. */
static int64_t floor_div(int64_t a, int64_t b)
{
    if (b == -1)
        return a == INT64_MIN ? a : -a;
    return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

static sg_status whole_arithmetic(sg_tpl *t, const char *op, int64_t a, int64_t b, sg_tpl_value *out, bool *done)
{
    int64_t result = 0;
    bool over = false;
    *done = true;
    if (op[0] == '+')
        over = __builtin_add_overflow(a, b, &result);
    else if (op[0] == '-')
        over = __builtin_sub_overflow(a, b, &result);
    else if (op[0] == '*' && op[1] == '\0')
        over = __builtin_mul_overflow(a, b, &result);
    else if ((op[0] == '/' && op[1] == '/') || op[0] == '%') {
        if (b == 0)
            return sg_tpl_fail(t, SG_EFORMAT, "divides by zero");
        result = op[0] == '%' ? (b == -1 ? 0 : a - b * floor_div(a, b)) : floor_div(a, b);
    } else if (op[0] == '*' && b >= 0 && b < 64) {
        result = 1;
        for (int64_t i = 0; i < b && !over; i++)
            over = __builtin_mul_overflow(result, a, &result);
    } else {
        *done = false;
    }
    *out = sg_tpl_int(result);
    return over ? sg_tpl_fail(t, SG_EUNSUPPORTED, "a whole number beyond 64 bits") : SG_OK;
}

static sg_status binary(sg_tpl *t, const char *op, const sg_tpl_value *a, const sg_tpl_value *b, sg_tpl_value *out)
{
    double x, y;
    int64_t i, k;
    bool done = false;
    if (op[0] == '~')
        return join(t, a, b, out);
    if (op[0] == '+' && a->kind == SG_TPL_STRING && b->kind == SG_TPL_STRING)
        return join(t, a, b, out);
    if (op[0] == '+' && a->kind == SG_TPL_LIST && b->kind == SG_TPL_LIST)
        return add_lists(t, a->list, b->list, out);
    if (op[0] == '*' && op[1] == '\0' && a->kind == SG_TPL_STRING && sg_tpl_whole(b, &k))
        return repeat(t, a, k, out);
    if (op[0] == '*' && op[1] == '\0' && b->kind == SG_TPL_STRING && sg_tpl_whole(a, &i))
        return repeat(t, b, i, out);
    if (!sg_tpl_number(a, &x) || !sg_tpl_number(b, &y))
        return needs_numbers(t, op, a, b);
    if (sg_tpl_whole(a, &i) && sg_tpl_whole(b, &k))
        SG_TRY(whole_arithmetic(t, op, i, k, out, &done));
    if (done)
        return SG_OK;
    const bool divides = op[0] == '/' || op[0] == '%';
    if (divides && !(y < 0) && !(y > 0))
        return sg_tpl_fail(t, SG_EFORMAT, "divides by zero");
    const double floored = divides ? floor(x / y) : 0;
    *out = sg_tpl_float(op[0] == '+'                   ? x + y
                        : op[0] == '-'                 ? x - y
                        : op[0] == '%'                 ? x - y * floored
                        : op[0] == '/' && op[1] == '/' ? floored
                        : op[0] == '/'                 ? x / y
                        : op[1] == '*'                 ? pow(x, y)
                                                       : x * y);
    return SG_OK;
}

static sg_status compare_one(sg_tpl *t, const char *op, const sg_tpl_value *a, const sg_tpl_value *b, bool *out)
{
    int order;
    if (strcmp(op, "==") == 0 || strcmp(op, "!=") == 0) {
        SG_TRY(sg_tpl_equal(t, a, b, out));
        *out ^= op[0] == '!';
        return SG_OK;
    }
    if (strcmp(op, "in") == 0 || strcmp(op, "ni") == 0) {
        SG_TRY(sg_tpl_in(t, a, b, out));
        *out ^= op[0] == 'n';
        return SG_OK;
    }
    SG_TRY(sg_tpl_compare(t, a, b, &order));
    *out = op[0] == '<' ? (op[1] ? order <= 0 : order < 0) : (op[1] ? order >= 0 : order > 0);
    return SG_OK;
}

/* a < b < c compares neighbours until one comparison is false. */
static sg_status eval_compare(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    sg_tpl_value left, right;
    bool holds = true;
    SG_TRY(eval(t, node->a, &left));
    for (const sg_tpl_node *e = node->list; e && holds; e = e->next, left = right) {
        SG_TRY(eval(t, e->a, &right));
        t->line = e->line;
        SG_TRY(compare_one(t, e->op, &left, &right, &holds));
    }
    *out = sg_tpl_bool(holds);
    return SG_OK;
}

/* ---- slices ---- */

static sg_status bound_of(sg_tpl *t, const sg_tpl_node *node, int64_t n, bool backwards, int64_t fallback, int64_t *out)
{
    sg_tpl_value v = sg_tpl_none();
    if (node)
        SG_TRY(eval(t, node, &v));
    if (v.kind == SG_TPL_NONE) {
        *out = fallback;
        return SG_OK;
    }
    if (!sg_tpl_whole(&v, out))
        return sg_tpl_fail(t, SG_EFORMAT, "a slice by %s", sg_tpl_kind_name(&v));
    if (*out < 0)
        *out = *out < -n ? -1 : *out + n;
    const int64_t least = backwards ? -1 : 0;
    *out = SG_MAX(least, SG_MIN(*out, backwards ? n - 1 : n));
    return SG_OK;
}

static sg_status eval_slice(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    sg_tpl_value of, step_value = sg_tpl_int(1);
    sg_tpl_list *list;
    int64_t step, start, stop;
    SG_TRY(eval(t, node->a, &of));
    if (of.kind != SG_TPL_LIST && of.kind != SG_TPL_STRING)
        return sg_tpl_fail(t, SG_EFORMAT, "a slice of %s", sg_tpl_kind_name(&of));
    if (node->d)
        SG_TRY(eval(t, node->d, &step_value));
    if (step_value.kind == SG_TPL_NONE)
        step_value = sg_tpl_int(1);
    if (!sg_tpl_whole(&step_value, &step) || step == 0 || step > 1 << 30 || step < -(1 << 30))
        return sg_tpl_fail(t, SG_EFORMAT, "a slice by steps of 0 or of no whole number");
    SG_TRY(sg_tpl_iterate(t, &of, &list));
    const int64_t n = (int64_t)list->n;
    SG_TRY(bound_of(t, node->b, n, step < 0, step < 0 ? n - 1 : 0, &start));
    SG_TRY(bound_of(t, node->c, n, step < 0, step < 0 ? -1 : n, &stop));
    t->line = node->line;
    sg_str text = {0};
    sg_status status = SG_OK;
    if (of.kind == SG_TPL_LIST) {
        SG_TRY(sg_tpl_new_list(t, 0, out));
        out->list->tuple = of.list->tuple;
    } else {
        sg_str_puts(&text, "");
    }
    for (int64_t i = start; status == SG_OK && (step > 0 ? i < stop : i > stop); i += step) {
        if (of.kind == SG_TPL_LIST)
            status = sg_tpl_push(t, out->list, list->items[i]);
        else
            sg_str_append(&text, list->items[i].s.text, list->items[i].s.n);
    }
    return of.kind == SG_TPL_LIST ? status : sg_tpl_take(t, &text, out);
}

/* ---- expressions ---- */

static sg_status eval_list(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    SG_TRY(sg_tpl_new_list(t, 0, out));
    out->list->tuple = node->kind == SG_TPL_N_TUPLE;
    for (const sg_tpl_node *e = node->list; e; e = e->next) {
        sg_tpl_value item;
        SG_TRY(eval(t, e->a, &item));
        SG_TRY(sg_tpl_push(t, out->list, item));
    }
    return SG_OK;
}

static sg_status eval_map(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    SG_TRY(sg_tpl_new_map(t, out));
    for (const sg_tpl_node *e = node->list; e; e = e->next) {
        sg_tpl_value key, value;
        SG_TRY(eval(t, e->a, &key));
        if (key.kind != SG_TPL_STRING)
            return sg_tpl_fail(t, SG_EUNSUPPORTED, "%s as a key; only texts are", sg_tpl_kind_name(&key));
        SG_TRY(eval(t, e->b, &value));
        SG_TRY(sg_tpl_put(t, out->map, key.s.text, key.s.n, value));
    }
    return SG_OK;
}

static sg_status eval_sign(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    double x;
    int64_t i;
    const sg_tpl_value zero = sg_tpl_int(0);
    sg_tpl_value v;
    SG_TRY(eval(t, node->a, &v));
    if (!sg_tpl_number(&v, &x))
        return needs_numbers(t, node->kind == SG_TPL_N_NEGATE ? "negated, as" : "plus, as", &v, &v);
    if (node->kind == SG_TPL_N_PLUS)
        *out = v;
    else if (sg_tpl_whole(&v, &i))
        return binary(t, "-", &zero, &v, out);
    else
        *out = sg_tpl_float(-x);
    return SG_OK;
}

static sg_status eval_member(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    sg_tpl_value of, key;
    SG_TRY(eval(t, node->a, &of));
    if (node->kind == SG_TPL_N_ITEM)
        SG_TRY(eval(t, node->b, &key));
    else
        key = sg_tpl_text(node->name, node->n_name);
    t->line = node->line;
    return sg_tpl_member(t, &of, &key, out);
}

static sg_status eval_pipe(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    sg_tpl_value in;
    sg_tpl_args *args;
    SG_TRY(eval(t, node->a, &in));
    SG_TRY(eval_args(t, node->list, &args));
    t->line = node->line;
    if (node->kind == SG_TPL_N_PIPE)
        return sg_tpl_filter(t, node->name, node->n_name, &in, args, out);
    bool holds = false;
    SG_TRY(sg_tpl_test(t, node->name, node->n_name, &in, args, &holds));
    *out = sg_tpl_bool(holds);
    return SG_OK;
}

static sg_status eval_here(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    sg_tpl_value v, w;
    switch (node->kind) {
    case SG_TPL_N_VALUE:
        *out = node->value;
        return SG_OK;
    case SG_TPL_N_BLANK:
        *out = lookup(t, BLANK, strlen(BLANK));
        return SG_OK;
    case SG_TPL_N_NAME:
        *out = lookup(t, node->name, node->n_name);
        return SG_OK;
    case SG_TPL_N_LIST:
    case SG_TPL_N_TUPLE:
        return eval_list(t, node, out);
    case SG_TPL_N_MAP:
        return eval_map(t, node, out);
    case SG_TPL_N_COND:
        SG_TRY(eval(t, node->a, &v));
        if (sg_tpl_true(&v))
            return eval(t, node->b, out);
        *out = sg_tpl_undefined("", 0);
        return node->c ? eval(t, node->c, out) : SG_OK;
    case SG_TPL_N_OR:
    case SG_TPL_N_AND:
        SG_TRY(eval(t, node->a, out));
        return sg_tpl_true(out) == (node->kind == SG_TPL_N_OR) ? SG_OK : eval(t, node->b, out);
    case SG_TPL_N_NOT:
        SG_TRY(eval(t, node->a, &v));
        *out = sg_tpl_bool(!sg_tpl_true(&v));
        return SG_OK;
    case SG_TPL_N_COMPARE:
        return eval_compare(t, node, out);
    case SG_TPL_N_BINARY:
        SG_TRY(eval(t, node->a, &v));
        SG_TRY(eval(t, node->b, &w));
        t->line = node->line;
        return binary(t, node->op, &v, &w, out);
    case SG_TPL_N_NEGATE:
    case SG_TPL_N_PLUS:
        return eval_sign(t, node, out);
    case SG_TPL_N_MEMBER:
    case SG_TPL_N_ITEM:
        return eval_member(t, node, out);
    case SG_TPL_N_SLICE:
        return eval_slice(t, node, out);
    case SG_TPL_N_CALL:
        return eval_call(t, node, out);
    default:
        return eval_pipe(t, node, out);
    }
}

static sg_status eval(sg_tpl *t, const sg_tpl_node *node, sg_tpl_value *out)
{
    t->line = node->line;
    SG_TRY(sg_tpl_step(t, 1));
    if (++t->depth > 8 * SG_TPL_DEPTH)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "an expression or calls nest too deep");
    SG_TRY(eval_here(t, node, out));
    t->depth--;
    return SG_OK;
}

/* ---- statements ---- */

static sg_status exec_loop(sg_tpl *t, const sg_tpl_node *node, const sg_tpl_list *over, sg_str *out)
{
    sg_tpl_scope scope = {.parent = t->scope}, *const outer = t->scope;
    sg_tpl_loop *loop;
    flow how = GO_ON;
    SG_TRY(SG_TPL_ALLOC(t, &loop, sizeof *loop));
    loop->over = over;
    t->scope = &scope;
    sg_status status = SG_OK;
    for (size_t i = 0; i < over->n && status == SG_OK && how != BREAK; i++) {
        scope.vars.n = 0; /* what a round sets, the next does not see */
        loop->i = i;
        how = GO_ON;
        status = set_variable(t, "loop", 4, (sg_tpl_value){.kind = SG_TPL_LOOP, .loop = loop});
        if (status == SG_OK)
            status = set_targets(t, node->list, &over->items[i]);
        if (status == SG_OK)
            status = exec(t, node->body, out, &how);
    }
    t->scope = outer;
    return status;
}

/* The items for which the loop's condition holds. */
static sg_status filtered(sg_tpl *t, const sg_tpl_node *node, sg_tpl_list **over)
{
    sg_tpl_scope scope = {.parent = t->scope}, *const outer = t->scope;
    sg_tpl_value kept, holds;
    sg_status status = sg_tpl_new_list(t, 0, &kept);
    t->scope = &scope;
    for (size_t i = 0; i < (*over)->n && status == SG_OK; i++) {
        scope.vars.n = 0;
        status = set_targets(t, node->list, &(*over)->items[i]);
        if (status == SG_OK)
            status = eval(t, node->b, &holds);
        if (status == SG_OK && sg_tpl_true(&holds))
            status = sg_tpl_push(t, kept.list, (*over)->items[i]);
    }
    t->scope = outer;
    if (status == SG_OK)
        *over = kept.list;
    return status;
}

static sg_status exec_for(sg_tpl *t, const sg_tpl_node *node, sg_str *out, flow *how)
{
    sg_tpl_value v;
    sg_tpl_list *over;
    SG_TRY(eval(t, node->a, &v));
    t->line = node->line;
    SG_TRY(sg_tpl_iterate(t, &v, &over));
    if (node->b)
        SG_TRY(filtered(t, node, &over));
    if (over->n == 0)
        return exec(t, node->orelse, out, how);
    return exec_loop(t, node, over, out);
}

/* A body's text, as a value. */
static sg_status exec_to_value(sg_tpl *t, const sg_tpl_node *body, sg_tpl_value *out)
{
    sg_str text = {0};
    flow how = GO_ON;
    sg_str_puts(&text, "");
    const sg_status status = exec(t, body, &text, &how);
    if (status == SG_OK)
        return sg_tpl_take(t, &text, out);
    sg_str_free(&text);
    return status;
}

/* An expression over a body's text. */
static sg_status eval_over(sg_tpl *t, const sg_tpl_node *body, const sg_tpl_node *filters, sg_tpl_value *out)
{
    sg_tpl_scope scope = {.parent = t->scope}, *const outer = t->scope;
    sg_tpl_value text;
    t->scope = &scope;
    sg_status status = exec_to_value(t, body, &text);
    if (status == SG_OK)
        status = set_variable(t, BLANK, strlen(BLANK), text);
    if (status == SG_OK)
        status = eval(t, filters, out);
    t->scope = outer;
    return status;
}

static sg_status exec_set(sg_tpl *t, const sg_tpl_node *node)
{
    sg_tpl_value value;
    if (node->a)
        SG_TRY(eval(t, node->a, &value));
    else
        SG_TRY(eval_over(t, node->body, node->b, &value));
    t->line = node->line;
    const sg_tpl_node *target = node->list;
    if (!target->a)
        return set_targets(t, target, &value);
    const sg_tpl_value space = lookup(t, target->name, target->n_name);
    if (target->next || space.kind != SG_TPL_MAP || !space.map->space)
        return sg_tpl_fail(t, SG_EFORMAT, "sets a member of \"%.*s\", which is no namespace",
                           (int)SG_MIN(target->n_name, 40u), target->name);
    return sg_tpl_put(t, space.map, target->a->name, target->a->n_name, value);
}

static sg_status exec_with(sg_tpl *t, const sg_tpl_node *node, sg_str *out, flow *how)
{
    sg_tpl_scope scope = {.parent = t->scope}, *const outer = t->scope;
    sg_status status = SG_OK;
    for (const sg_tpl_node *e = node->list; e && status == SG_OK; e = e->next) {
        sg_tpl_value value;
        status = eval(t, e->a, &value);
        if (status == SG_OK)
            status = sg_tpl_put(t, &scope.vars, e->name, e->n_name, value);
    }
    t->scope = &scope;
    if (status == SG_OK)
        status = exec(t, node->body, out, how);
    t->scope = outer;
    return status;
}

static sg_status exec_one(sg_tpl *t, const sg_tpl_node *node, sg_str *out, flow *how)
{
    sg_tpl_value v;
    switch (node->kind) {
    case SG_TPL_N_TEXT:
        return sg_tpl_write(t, out, &node->value);
    case SG_TPL_N_PRINT:
        SG_TRY(eval(t, node->a, &v));
        return sg_tpl_write(t, out, &v);
    case SG_TPL_N_IF:
        SG_TRY(eval(t, node->a, &v));
        return exec(t, sg_tpl_true(&v) ? node->body : node->orelse, out, how);
    case SG_TPL_N_FOR:
        return exec_for(t, node, out, how);
    case SG_TPL_N_SET:
        return exec_set(t, node);
    case SG_TPL_N_MACRO:
        return set_variable(t, node->name, node->n_name, (sg_tpl_value){.kind = SG_TPL_MACRO, .macro = node});
    case SG_TPL_N_WITH:
        return node->list ? exec_with(t, node, out, how) : exec(t, node->body, out, how);
    case SG_TPL_N_FILTER:
        SG_TRY(eval_over(t, node->body, node->a, &v));
        return sg_tpl_write(t, out, &v);
    case SG_TPL_N_BREAK:
        *how = BREAK;
        return SG_OK;
    default:
        *how = CONTINUE;
        return SG_OK;
    }
}

static sg_status exec(sg_tpl *t, const sg_tpl_node *body, sg_str *out, flow *how)
{
    if (++t->depth > 8 * SG_TPL_DEPTH)
        return sg_tpl_fail(t, SG_EUNSUPPORTED, "statements or calls nest too deep");
    for (; body && *how == GO_ON; body = body->next) {
        t->line = body->line;
        SG_TRY(sg_tpl_step(t, 1));
        SG_TRY(exec_one(t, body, out, how));
    }
    t->depth--;
    return SG_OK;
}

sg_status sg_tpl_run(sg_tpl *t, const sg_tpl_node *body, sg_str *out)
{
    flow how = GO_ON;
    return exec(t, body, out, &how);
}
