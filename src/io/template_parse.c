/* Tokens to a tree, by recursive descent with Jinja's precedence: or, and, not, comparisons, + and -, ~, * / // %, **,
 * signs; filters and tests bind to what is right before them. */
#include <string.h>

#include "io/template_internal.h"
#include "io/tokenizer_internal.h"

struct parser {
    sg_tpl *t;
    const sg_tpl_token *at;
    int depth, n_loops;
};

static sg_status parse_expression(struct parser *p, sg_tpl_node **out);
static sg_status parse_unary(struct parser *p, bool filters, sg_tpl_node **out);
static sg_status parse_body(struct parser *p, const char *const *stops, sg_tpl_node **out);

/* ---- tokens ---- */

static bool is_op(const struct parser *p, const char *op)
{
    return p->at->kind == SG_TPL_T_OP && p->at->n == strlen(op) && memcmp(p->at->text, op, p->at->n) == 0;
}

static bool is_word(const struct parser *p, const char *word)
{
    return p->at->kind == SG_TPL_T_NAME && p->at->n == strlen(word) && memcmp(p->at->text, word, p->at->n) == 0;
}

static bool take_op(struct parser *p, const char *op)
{
    const bool there = is_op(p, op);
    p->at += there;
    return there;
}

static bool take_word(struct parser *p, const char *word)
{
    const bool there = is_word(p, word);
    p->at += there;
    return there;
}

static sg_status wanted(struct parser *p, const char *what)
{
    static const char *const names[] = {"text",   "{%",       "%}",       "{{", "}}",     "a name",
                                        "a text", "a number", "a number", "",   "the end"};
    char shown[SG_SHOWN];
    p->t->line = p->at->line;
    if (p->at->kind == SG_TPL_T_NAME || p->at->kind == SG_TPL_T_OP)
        return sg_tpl_fail(p->t, SG_EFORMAT, "found \"%s\", wanted %s", sg_show_n(shown, p->at->text, p->at->n), what);
    return sg_tpl_fail(p->t, SG_EFORMAT, "found %s, wanted %s", names[p->at->kind], what);
}

static sg_status need_op(struct parser *p, const char *op)
{
    char what[16];
    snprintf(what, sizeof what, "\"%s\"", op);
    return take_op(p, op) ? SG_OK : wanted(p, what);
}

static sg_status need_word(struct parser *p, const char *word)
{
    char what[16];
    snprintf(what, sizeof what, "\"%s\"", word);
    return take_word(p, word) ? SG_OK : wanted(p, what);
}

static sg_status need_end(struct parser *p)
{
    if (p->at->kind != SG_TPL_T_BLOCK_END)
        return wanted(p, "%}");
    p->at++;
    return SG_OK;
}

static sg_status new_node(struct parser *p, sg_tpl_node_kind kind, sg_tpl_node **out)
{
    SG_TRY(SG_TPL_ALLOC(p->t, out, sizeof **out));
    (*out)->kind = kind;
    (*out)->line = p->at->line;
    return SG_OK;
}

static sg_status need_name(struct parser *p, sg_tpl_node *node)
{
    if (p->at->kind != SG_TPL_T_NAME)
        return wanted(p, "a name");
    node->name = p->at->text;
    node->n_name = p->at->n;
    p->at++;
    return SG_OK;
}

static sg_status deeper(struct parser *p)
{
    p->t->line = p->at->line;
    return ++p->depth > SG_TPL_DEPTH ? sg_tpl_fail(p->t, SG_EUNSUPPORTED, "nests more than %d deep", SG_TPL_DEPTH)
                                     : SG_OK;
}

/* ---- expressions ---- */

/* Items up to the closing, which is taken: in a call, name=value too. */
static sg_status parse_items(struct parser *p, const char *close, bool named, sg_tpl_node **list)
{
    for (sg_tpl_node **last = list; !take_op(p, close); last = &(*last)->next) {
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
        if (is_op(p, "*") || is_op(p, "**"))
            return wanted(p, "an argument (unpacking is not supported)");
        if (named && p->at->kind == SG_TPL_T_NAME && p->at[1].kind == SG_TPL_T_OP && p->at[1].n == 1 &&
            p->at[1].text[0] == '=') {
            SG_TRY(need_name(p, *last));
            p->at++;
        }
        SG_TRY(parse_expression(p, &(*last)->a));
        if (!take_op(p, ",") && !is_op(p, close))
            return wanted(p, close[0] == ')' ? "\",\" or \")\"" : "\",\" or \"]\"");
    }
    return SG_OK;
}

static sg_status parse_map(struct parser *p, sg_tpl_node **out)
{
    SG_TRY(new_node(p, SG_TPL_N_MAP, out));
    for (sg_tpl_node **last = &(*out)->list; !take_op(p, "}"); last = &(*last)->next) {
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
        SG_TRY(parse_expression(p, &(*last)->a));
        SG_TRY(need_op(p, ":"));
        SG_TRY(parse_expression(p, &(*last)->b));
        if (!take_op(p, ",") && !is_op(p, "}"))
            return wanted(p, "\",\" or \"}\"");
    }
    return SG_OK;
}

/* Behind an opening parenthesis: one expression in it, or a tuple. */
static sg_status parse_tuple(struct parser *p, sg_tpl_node **out)
{
    sg_tpl_node *tuple;
    SG_TRY(new_node(p, SG_TPL_N_TUPLE, &tuple));
    bool comma = false;
    for (sg_tpl_node **last = &tuple->list; !take_op(p, ")"); last = &(*last)->next) {
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
        SG_TRY(parse_expression(p, &(*last)->a));
        const bool more = take_op(p, ",");
        comma |= more;
        if (!more && !is_op(p, ")"))
            return wanted(p, "\",\" or \")\"");
    }
    *out = tuple->list && !comma ? tuple->list->a : tuple;
    return SG_OK;
}

static sg_status parse_strings(struct parser *p, sg_tpl_node *node)
{
    sg_str text = {0};
    sg_str_puts(&text, "");
    for (; p->at->kind == SG_TPL_T_STRING; p->at++) /* texts side by side are one */
        sg_str_append(&text, p->at->text, p->at->n);
    return sg_tpl_take(p->t, &text, &node->value);
}

static sg_status parse_primary(struct parser *p, sg_tpl_node **out)
{
    static const struct {
        const char *name;
        sg_tpl_kind kind;
        bool b;
    } words[] = {{"true", SG_TPL_BOOL, true},   {"True", SG_TPL_BOOL, true},  {"false", SG_TPL_BOOL, false},
                 {"False", SG_TPL_BOOL, false}, {"none", SG_TPL_NONE, false}, {"None", SG_TPL_NONE, false}};
    SG_TRY(new_node(p, SG_TPL_N_VALUE, out));
    switch (p->at->kind) {
    case SG_TPL_T_STRING:
        return parse_strings(p, *out);
    case SG_TPL_T_INT:
        (*out)->value = sg_tpl_int(p->at++->i);
        return SG_OK;
    case SG_TPL_T_FLOAT:
        (*out)->value = sg_tpl_float(p->at++->f);
        return SG_OK;
    case SG_TPL_T_NAME:
        for (size_t i = 0; i < SG_COUNT_OF(words); i++) {
            if (take_word(p, words[i].name)) {
                (*out)->value = words[i].kind == SG_TPL_BOOL ? sg_tpl_bool(words[i].b) : sg_tpl_none();
                return SG_OK;
            }
        }
        (*out)->kind = SG_TPL_N_NAME;
        return need_name(p, *out);
    default:
        if (take_op(p, "("))
            return parse_tuple(p, out);
        if (take_op(p, "[")) {
            (*out)->kind = SG_TPL_N_LIST;
            return parse_items(p, "]", false, &(*out)->list);
        }
        return take_op(p, "{") ? parse_map(p, out) : wanted(p, "an expression");
    }
}

/* Behind the bracket of a[...]. */
static sg_status parse_subscript(struct parser *p, sg_tpl_node *node)
{
    sg_tpl_node **const parts[] = {&node->b, &node->c, &node->d};
    int n_colons = 0;
    for (; !take_op(p, "]");) {
        if (take_op(p, ":")) {
            if (++n_colons > 2)
                return wanted(p, "\"]\"");
            continue;
        }
        if (*parts[n_colons])
            return wanted(p, "\":\" or \"]\"");
        SG_TRY(parse_expression(p, parts[n_colons]));
    }
    node->kind = n_colons ? SG_TPL_N_SLICE : SG_TPL_N_ITEM;
    return n_colons || node->b ? SG_OK : wanted(p, "an index");
}

static sg_status parse_postfix(struct parser *p, sg_tpl_node **node)
{
    for (int n = 0;; n++) {
        sg_tpl_node *outer;
        if (!is_op(p, ".") && !is_op(p, "[") && !is_op(p, "("))
            return SG_OK;
        if (n >= SG_TPL_DEPTH)
            return wanted(p, "fewer calls and members in a row");
        SG_TRY(new_node(p, SG_TPL_N_MEMBER, &outer));
        outer->a = *node;
        if (take_op(p, ".")) {
            if (p->at->kind == SG_TPL_T_INT) { /* a.0 is a[0] */
                outer->kind = SG_TPL_N_ITEM;
                SG_TRY(parse_primary(p, &outer->b));
            } else {
                SG_TRY(need_name(p, outer));
            }
        } else if (take_op(p, "[")) {
            SG_TRY(parse_subscript(p, outer));
        } else {
            p->at++;
            outer->kind = SG_TPL_N_CALL;
            SG_TRY(parse_items(p, ")", true, &outer->list));
        }
        *node = outer;
    }
}

static bool begins_argument(const struct parser *p)
{
    static const char *const words[] = {"else", "or", "and", "is", "in", "not", "if"};
    for (size_t i = 0; i < SG_COUNT_OF(words); i++)
        if (is_word(p, words[i]))
            return false;
    return p->at->kind == SG_TPL_T_NAME || p->at->kind == SG_TPL_T_STRING || p->at->kind == SG_TPL_T_INT ||
           p->at->kind == SG_TPL_T_FLOAT || is_op(p, "[") || is_op(p, "{");
}

/* |name(...), and `is name ...`, which may have its one argument without parentheses. */
static sg_status parse_filters(struct parser *p, sg_tpl_node **node, bool tests)
{
    for (int n = 0;; n++) {
        sg_tpl_node *outer, *negated = NULL;
        const bool pipe = is_op(p, "|");
        if (!pipe && !(tests && is_word(p, "is")))
            return SG_OK;
        if (n >= SG_TPL_DEPTH)
            return wanted(p, "fewer filters in a row");
        p->at++;
        SG_TRY(new_node(p, pipe ? SG_TPL_N_PIPE : SG_TPL_N_TEST, &outer));
        if (!pipe && take_word(p, "not")) {
            SG_TRY(new_node(p, SG_TPL_N_NOT, &negated));
            negated->a = outer;
        }
        outer->a = *node;
        SG_TRY(need_name(p, outer));
        if (take_op(p, "(")) {
            SG_TRY(parse_items(p, ")", true, &outer->list));
        } else if (!pipe && begins_argument(p)) {
            SG_TRY(new_node(p, SG_TPL_N_ENTRY, &outer->list));
            SG_TRY(parse_primary(p, &outer->list->a));
            SG_TRY(parse_postfix(p, &outer->list->a));
        }
        *node = negated ? negated : outer;
    }
}

static sg_status parse_unary(struct parser *p, bool filters, sg_tpl_node **out)
{
    SG_TRY(deeper(p));
    if (is_op(p, "-") || is_op(p, "+")) {
        SG_TRY(new_node(p, is_op(p, "-") ? SG_TPL_N_NEGATE : SG_TPL_N_PLUS, out));
        p->at++;
        SG_TRY(parse_unary(p, false, &(*out)->a));
    } else {
        SG_TRY(parse_primary(p, out));
    }
    SG_TRY(parse_postfix(p, out));
    if (filters)
        SG_TRY(parse_filters(p, out, true));
    p->depth--;
    return SG_OK;
}

/* One level of binary operators, the tightest last; all but ** go from left to right, and that is rare enough. */
static sg_status parse_binary(struct parser *p, int level, sg_tpl_node **out)
{
    static const char *const ops[][5] = {{"+", "-"}, {"~"}, {"*", "/", "//", "%"}, {"**"}};
    if (level == SG_COUNT_OF(ops))
        return parse_unary(p, true, out);
    SG_TRY(parse_binary(p, level + 1, out));
    for (int n = 0;; n++) {
        int i = 0;
        while (ops[level][i] && !is_op(p, ops[level][i]))
            i++;
        if (!ops[level][i])
            return SG_OK;
        sg_tpl_node *outer;
        SG_TRY(new_node(p, SG_TPL_N_BINARY, &outer));
        if (n >= 16 * SG_TPL_DEPTH)
            return wanted(p, "fewer operators in a row");
        snprintf(outer->op, sizeof outer->op, "%s", ops[level][i]);
        p->at++;
        outer->a = *out;
        SG_TRY(parse_binary(p, level + 1, &outer->b));
        *out = outer;
    }
}

static sg_status parse_comparison(struct parser *p, sg_tpl_node **out)
{
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    sg_tpl_node *first, **last = NULL, *outer = NULL;
    SG_TRY(parse_binary(p, 0, &first));
    *out = first;
    for (;;) {
        const char *op = NULL;
        for (size_t i = 0; i < SG_COUNT_OF(ops) && !op; i++)
            op = take_op(p, ops[i]) ? ops[i] : NULL;
        if (!op && take_word(p, "in"))
            op = "in";
        if (!op && is_word(p, "not") && p->at[1].kind == SG_TPL_T_NAME && p->at[1].n == 2 &&
            memcmp(p->at[1].text, "in", 2) == 0) {
            p->at += 2;
            op = "ni";
        }
        if (!op)
            return SG_OK;
        if (!outer) {
            SG_TRY(new_node(p, SG_TPL_N_COMPARE, &outer));
            outer->a = first;
            last = &outer->list;
            *out = outer;
        }
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
        snprintf((*last)->op, sizeof(*last)->op, "%s", op);
        SG_TRY(parse_binary(p, 0, &(*last)->a));
        last = &(*last)->next;
    }
}

static sg_status parse_not(struct parser *p, sg_tpl_node **out)
{
    if (!is_word(p, "not"))
        return parse_comparison(p, out);
    SG_TRY(deeper(p));
    SG_TRY(new_node(p, SG_TPL_N_NOT, out));
    p->at++;
    SG_TRY(parse_not(p, &(*out)->a));
    p->depth--;
    return SG_OK;
}

static sg_status parse_and(struct parser *p, sg_tpl_node **out)
{
    SG_TRY(parse_not(p, out));
    for (int n = 0; is_word(p, "and"); n++) {
        sg_tpl_node *outer;
        SG_TRY(new_node(p, SG_TPL_N_AND, &outer));
        if (n >= 16 * SG_TPL_DEPTH)
            return wanted(p, "fewer conditions in a row");
        p->at++;
        outer->a = *out;
        SG_TRY(parse_not(p, &outer->b));
        *out = outer;
    }
    return SG_OK;
}

static sg_status parse_or(struct parser *p, sg_tpl_node **out)
{
    SG_TRY(parse_and(p, out));
    for (int n = 0; is_word(p, "or"); n++) {
        sg_tpl_node *outer;
        SG_TRY(new_node(p, SG_TPL_N_OR, &outer));
        if (n >= 16 * SG_TPL_DEPTH)
            return wanted(p, "fewer conditions in a row");
        p->at++;
        outer->a = *out;
        SG_TRY(parse_and(p, &outer->b));
        *out = outer;
    }
    return SG_OK;
}

static sg_status parse_expression(struct parser *p, sg_tpl_node **out)
{
    SG_TRY(deeper(p));
    SG_TRY(parse_or(p, out));
    for (int n = 0; is_word(p, "if"); n++) {
        sg_tpl_node *outer;
        SG_TRY(new_node(p, SG_TPL_N_COND, &outer));
        if (n >= SG_TPL_DEPTH)
            return wanted(p, "fewer conditions in a row");
        p->at++;
        outer->b = *out;
        SG_TRY(parse_or(p, &outer->a));
        if (take_word(p, "else"))
            SG_TRY(parse_expression(p, &outer->c));
        *out = outer;
    }
    p->depth--;
    return SG_OK;
}

/* An expression, or several with commas between: a tuple. */
static sg_status parse_expressions(struct parser *p, sg_tpl_node **out)
{
    SG_TRY(parse_expression(p, out));
    if (!is_op(p, ","))
        return SG_OK;
    sg_tpl_node *tuple, **last;
    SG_TRY(new_node(p, SG_TPL_N_TUPLE, &tuple));
    last = &tuple->list;
    SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
    (*last)->a = *out;
    while (take_op(p, ",") && p->at->kind != SG_TPL_T_BLOCK_END && p->at->kind != SG_TPL_T_PRINT_END) {
        last = &(*last)->next;
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
        SG_TRY(parse_expression(p, &(*last)->a));
    }
    *out = tuple;
    return SG_OK;
}

/* ---- statements ---- */

/* Names with commas between, perhaps in parentheses. */
static sg_status parse_targets(struct parser *p, sg_tpl_node **list)
{
    const bool inside = take_op(p, "(");
    for (sg_tpl_node **last = list;; last = &(*last)->next) {
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
        SG_TRY(need_name(p, *last));
        if (!take_op(p, ","))
            break;
    }
    return inside ? need_op(p, ")") : SG_OK;
}

static sg_status parse_if(struct parser *p, sg_tpl_node *node)
{
    static const char *const stops[] = {"elif", "else", "endif", NULL}, *const last[] = {"endif", NULL};
    for (;;) {
        SG_TRY(parse_expressions(p, &node->a));
        SG_TRY(need_end(p));
        SG_TRY(parse_body(p, stops, &node->body));
        if (take_word(p, "elif")) {
            SG_TRY(new_node(p, SG_TPL_N_IF, &node->orelse));
            node = node->orelse;
            continue;
        }
        if (take_word(p, "else")) {
            SG_TRY(need_end(p));
            SG_TRY(parse_body(p, last, &node->orelse));
        }
        SG_TRY(need_word(p, "endif"));
        return need_end(p);
    }
}

static sg_status parse_for(struct parser *p, sg_tpl_node *node)
{
    static const char *const stops[] = {"else", "endfor", NULL}, *const last[] = {"endfor", NULL};
    SG_TRY(parse_targets(p, &node->list));
    SG_TRY(need_word(p, "in"));
    SG_TRY(parse_or(p, &node->a)); /* an `if` behind it belongs to the loop */
    if (is_op(p, ",")) {
        sg_tpl_node *tuple, **next;
        SG_TRY(new_node(p, SG_TPL_N_TUPLE, &tuple));
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, &tuple->list));
        tuple->list->a = node->a;
        for (next = &tuple->list->next; take_op(p, ","); next = &(*next)->next) {
            SG_TRY(new_node(p, SG_TPL_N_ENTRY, next));
            SG_TRY(parse_or(p, &(*next)->a));
        }
        node->a = tuple;
    }
    if (take_word(p, "if"))
        SG_TRY(parse_expression(p, &node->b));
    if (is_word(p, "recursive"))
        return sg_tpl_fail(p->t, SG_EUNSUPPORTED, "recursive loops are not supported");
    SG_TRY(need_end(p));
    p->n_loops++;
    SG_TRY(parse_body(p, stops, &node->body));
    p->n_loops--;
    if (take_word(p, "else")) {
        SG_TRY(need_end(p));
        SG_TRY(parse_body(p, last, &node->orelse));
    }
    SG_TRY(need_word(p, "endfor"));
    return need_end(p);
}

/* set a = ..., set a, b = ..., set space.member = ..., or a block up to endset. */
static sg_status parse_set(struct parser *p, sg_tpl_node *node)
{
    static const char *const stops[] = {"endset", NULL};
    for (sg_tpl_node **last = &node->list;; last = &(*last)->next) {
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
        SG_TRY(need_name(p, *last));
        if (take_op(p, ".")) {
            SG_TRY(new_node(p, SG_TPL_N_ENTRY, &(*last)->a));
            SG_TRY(need_name(p, (*last)->a));
        }
        if (!take_op(p, ","))
            break;
    }
    if (take_op(p, "=")) {
        SG_TRY(parse_expressions(p, &node->a));
        return need_end(p);
    }
    SG_TRY(new_node(p, SG_TPL_N_BLANK, &node->b));
    SG_TRY(parse_filters(p, &node->b, false));
    SG_TRY(need_end(p));
    SG_TRY(parse_body(p, stops, &node->body));
    SG_TRY(need_word(p, "endset"));
    return need_end(p);
}

static sg_status parse_macro(struct parser *p, sg_tpl_node *node)
{
    static const char *const stops[] = {"endmacro", NULL};
    const int n_loops = p->n_loops;
    SG_TRY(need_name(p, node));
    SG_TRY(need_op(p, "("));
    for (sg_tpl_node **last = &node->list; !take_op(p, ")"); last = &(*last)->next) {
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
        SG_TRY(need_name(p, *last));
        if (take_op(p, "="))
            SG_TRY(parse_expression(p, &(*last)->a));
        if (!take_op(p, ",") && !is_op(p, ")"))
            return wanted(p, "\",\" or \")\"");
    }
    SG_TRY(need_end(p));
    p->n_loops = 0;
    SG_TRY(parse_body(p, stops, &node->body));
    p->n_loops = n_loops;
    SG_TRY(need_word(p, "endmacro"));
    if (p->at->kind == SG_TPL_T_NAME)
        p->at++;
    return need_end(p);
}

static sg_status parse_with(struct parser *p, sg_tpl_node *node)
{
    static const char *const stops[] = {"endwith", NULL};
    for (sg_tpl_node **last = &node->list; p->at->kind != SG_TPL_T_BLOCK_END; last = &(*last)->next) {
        SG_TRY(new_node(p, SG_TPL_N_ENTRY, last));
        SG_TRY(need_name(p, *last));
        SG_TRY(need_op(p, "="));
        SG_TRY(parse_expression(p, &(*last)->a));
        if (!take_op(p, ","))
            break;
    }
    SG_TRY(need_end(p));
    SG_TRY(parse_body(p, stops, &node->body));
    SG_TRY(need_word(p, "endwith"));
    return need_end(p);
}

static sg_status parse_filter_block(struct parser *p, sg_tpl_node *node)
{
    static const char *const stops[] = {"endfilter", NULL};
    sg_tpl_node *first;
    SG_TRY(new_node(p, SG_TPL_N_PIPE, &first));
    SG_TRY(new_node(p, SG_TPL_N_BLANK, &first->a));
    SG_TRY(need_name(p, first));
    if (take_op(p, "("))
        SG_TRY(parse_items(p, ")", true, &first->list));
    node->a = first;
    SG_TRY(parse_filters(p, &node->a, false));
    SG_TRY(need_end(p));
    SG_TRY(parse_body(p, stops, &node->body));
    SG_TRY(need_word(p, "endfilter"));
    return need_end(p);
}

/* {% generation %} only marks the assistant's words for training. */
static sg_status parse_generation(struct parser *p, sg_tpl_node *node)
{
    static const char *const stops[] = {"endgeneration", NULL};
    SG_TRY(need_end(p));
    SG_TRY(parse_body(p, stops, &node->body));
    SG_TRY(need_word(p, "endgeneration"));
    return need_end(p);
}

static sg_status parse_jump(struct parser *p, sg_tpl_node *node)
{
    if (p->n_loops == 0)
        return sg_tpl_fail(p->t, SG_EFORMAT, "%s outside a loop", node->kind == SG_TPL_N_BREAK ? "break" : "continue");
    return need_end(p);
}

static const struct {
    const char *word;
    sg_tpl_node_kind kind;
    sg_status (*parse)(struct parser *p, sg_tpl_node *node);
} statements[] = {
    {"if", SG_TPL_N_IF, parse_if},
    {"for", SG_TPL_N_FOR, parse_for},
    {"set", SG_TPL_N_SET, parse_set},
    {"macro", SG_TPL_N_MACRO, parse_macro},
    {"with", SG_TPL_N_WITH, parse_with},
    {"filter", SG_TPL_N_FILTER, parse_filter_block},
    {"generation", SG_TPL_N_WITH, parse_generation},
    {"break", SG_TPL_N_BREAK, parse_jump},
    {"continue", SG_TPL_N_CONTINUE, parse_jump},
};

static sg_status parse_statement(struct parser *p, sg_tpl_node **out)
{
    char shown[SG_SHOWN];
    p->t->line = p->at->line;
    for (size_t i = 0; i < SG_COUNT_OF(statements); i++) {
        if (is_word(p, statements[i].word)) {
            SG_TRY(new_node(p, statements[i].kind, out));
            p->at++;
            return statements[i].parse(p, *out);
        }
    }
    if (p->at->kind == SG_TPL_T_NAME && p->at->n >= 3 && strncmp(p->at->text, "end", 3) == 0)
        return wanted(p, "a statement: this ends none that is open");
    if (p->at->kind == SG_TPL_T_NAME)
        return sg_tpl_fail(p->t, SG_EUNSUPPORTED, "the statement \"%s\" is not supported",
                           sg_show_n(shown, p->at->text, p->at->n));
    return wanted(p, "a statement");
}

/* Up to a tag that begins with one of these words, whose word is next then. */
static sg_status parse_body(struct parser *p, const char *const *stops, sg_tpl_node **out)
{
    SG_TRY(deeper(p));
    for (sg_tpl_node **last = out;; last = &(*last)->next) {
        p->t->line = p->at->line;
        if (p->at->kind == SG_TPL_T_END) {
            if (stops)
                return wanted(p, stops[0][0] == 'e' && stops[1] ? "an end of what is open" : stops[0]);
            break;
        }
        if (p->at->kind == SG_TPL_T_TEXT) {
            SG_TRY(new_node(p, SG_TPL_N_TEXT, last));
            (*last)->value = sg_tpl_text(p->at->text, p->at->n);
            p->at++;
        } else if (p->at->kind == SG_TPL_T_PRINT) {
            p->at++;
            SG_TRY(new_node(p, SG_TPL_N_PRINT, last));
            SG_TRY(parse_expressions(p, &(*last)->a));
            if (p->at->kind != SG_TPL_T_PRINT_END)
                return wanted(p, "}}");
            p->at++;
        } else {
            p->at++;
            bool stop = false;
            for (int i = 0; stops && stops[i]; i++)
                stop |= is_word(p, stops[i]);
            if (stop)
                break;
            SG_TRY(parse_statement(p, last));
        }
    }
    p->depth--;
    return SG_OK;
}

sg_status sg_tpl_parse(sg_tpl *t, const sg_tpl_token *tokens, sg_tpl_node **out)
{
    struct parser p = {.t = t, .at = tokens};
    *out = NULL;
    return parse_body(&p, NULL, out);
}
