/* Chat templates: against what Jinja makes of the same ones (test/make_models/templates.py), some by hand, and hostile
 * ones. */
#include "faults.h"
#include "io/tokenizer_test.h"
#include "sightglass/template.h"

#define NOW 1700000000

/* ---- beside Jinja ---- */

static void templates_give_what_jinja_gives(void **state)
{
    (void)state;
    json_error_t why;
    json_t *root = json_load_file(SG_SOURCE_DIR "/test/data/templates.json", 0, &why);
    CHECK(root != NULL);
    const json_t *cases = json_object_get(root, "cases");
    int n_bad = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const json_t *vars = json_object_get(one, "variables");
        const char *source = json_string_value(json_object_get(one, "source"));
        const char *want = json_string_value(json_object_get(one, "text"));
        char *variables = json_dumps(vars ? vars : json_object_get(root, "variables"), 0), *got;
        sg_error err = {.text = ""};
        const sg_status status = sg_template_render(&got, source, "test", variables, NOW, &err);
        if (want ? status != SG_OK || strcmp(got, want) != 0 : status == SG_OK) {
            print_error("%s\n  gives %s\n  wanted %s\n", source, got ? got : err.text, want ? want : "an error");
            n_bad++;
        }
        if (status != SG_OK) {
            CHECK_TEXT(err.text, "test: line ");
            CHECK(got == NULL && strchr(err.text, '\n') == NULL);
        }
        free(got);
        free(variables);
    }
    CHECK(json_array_size(cases) > 200 && n_bad == 0);
    json_decref(root);
}

/* ---- by hand ---- */

#define CHATML                                                                                                         \
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"             \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

static sg_tokenizer *with_template(const char *source)
{
    static const char *const tokens[] = {"<unk>", "<s>", "</s>", "a"};
    static const float scores[4] = {0};
    sg_tokenizer_vocab in = sg_tokenizer_vocab_defaults();
    in.kind = SG_TOKENIZER_SPM;
    in.n = 4;
    in.tokens = tokens;
    in.scores = scores;
    in.unk = 0;
    in.bos = 1;
    in.eos = 2;
    in.chat_template = source;
    sg_tokenizer *t;
    sg_error err;
    CHECK_OK(sg_tokenizer_new(&t, &in, &err), &err);
    return t;
}

static void check_chat(const char *source, sg_chat_opts opts, const char *want)
{
    static const sg_chat_message messages[] = {{"system", "Be brief."}, {"user", "Hi \xC3\xA9"}};
    sg_tokenizer *t = with_template(source);
    sg_error err;
    char *text;
    CHECK_OK(sg_chat_render(&text, t, 2, messages, opts, &err), &err);
    assert_string_equal(text, want);
    free(text);
    CHECK_OK(
        sg_chat_render_json(&text, t,
                            "[{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"content\": "
                            "\"Hi \\u00e9\"}]",
                            opts, &err),
        &err);
    assert_string_equal(text, want);
    free(text);
    sg_tokenizer_free(t);
}

static void a_chat_becomes_its_text(void **state)
{
    (void)state;
    sg_chat_opts opts = sg_chat_defaults();
    check_chat(
        CHATML, opts,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi \xC3\xA9<|im_end|>\n<|im_start|>assistant\n");
    check_chat("{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ tools }}{{ documents }}", opts, "<s></s>NoneNone");
    opts.add_generation_prompt = false;
    check_chat(CHATML, opts, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi \xC3\xA9<|im_end|>\n");
    opts.tools = "[{\"name\": \"f\"}]";
    opts.variables = "{\"thinking\": false, \"bos_token\": \"!\"}";
    opts.now = NOW;
    check_chat("{{ bos_token }}{{ tools[0].name }}{{ thinking }}{{ strftime_now('%d %b %Y') }}", opts,
               "!fFalse14 Nov 2023");
}

static void a_chat_that_cannot_be_says_why(void **state)
{
    (void)state;
    static const sg_chat_message message = {"user", "Hi"};
    static const struct {
        const char *source;
        sg_status status;
        const char *words;
    } cases[] = {
        {NULL, SG_ENOTFOUND, "no chat template"},
        {"\n{{ raise_exception('only\nusers') }}", SG_EARG, "chat template: line 2: the template refuses: only users"},
        {"\n\n{{ messages[0].name.first }}", SG_EFORMAT, "line 3: \"name\" is not defined"},
        {"{% include 'a' %}", SG_EUNSUPPORTED, "line 1: the statement \"include\" is not supported"},
        {"{% call f() %}{% endcall %}", SG_EUNSUPPORTED, "the statement \"call\""},
        {"{% for a in b recursive %}{% endfor %}", SG_EUNSUPPORTED, "recursive loops"},
        {"{{ x|pprint }}", SG_EUNSUPPORTED, "the filter \"pprint\""},
        {"{{ 1 is nosuch }}", SG_EUNSUPPORTED, "the test \"nosuch\""},
        {"{{ 'a'.encode() }}", SG_EUNSUPPORTED, "the method \"encode\" of a text"},
        {"{{ cycler(1) }}", SG_EUNSUPPORTED, "the function \"cycler\""},
        {"{{ f(*a) }}", SG_EFORMAT, "unpacking"},
        {"{% if a %}\n{{ a }", SG_EFORMAT, "line 2"},
    };
    for (size_t i = 0; i < SG_COUNT_OF(cases); i++) {
        sg_tokenizer *t = with_template(cases[i].source);
        sg_error err;
        char *text;
        CHECK_STATUS(sg_chat_render(&text, t, 1, &message, sg_chat_defaults(), &err), cases[i].status);
        CHECK(text == NULL);
        CHECK_TEXT(err.text, cases[i].words);
        sg_tokenizer_free(t);
    }
    sg_tokenizer *t = with_template("x");
    sg_chat_opts opts = sg_chat_defaults();
    sg_error err;
    char *text;
    CHECK_STATUS(sg_chat_render_json(&text, t, "{}", opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "messages: not a JSON list");
    CHECK_STATUS(sg_chat_render_json(&text, t, "[", opts, &err), SG_EFORMAT);
    opts.tools = "1";
    CHECK_STATUS(sg_chat_render(&text, t, 1, &message, opts, &err), SG_EFORMAT);
    opts.tools = "{}";
    CHECK_STATUS(sg_chat_render(&text, t, 1, &message, opts, &err), SG_EARG);
    opts.tools = NULL;
    opts.variables = "[]";
    CHECK_STATUS(sg_chat_render(&text, t, 1, &message, opts, &err), SG_EARG);
    CHECK_TEXT(err.text, "variables: not a JSON object");
    sg_tokenizer_free(t);
}

/* ---- hostile ones ---- */

static void check_stopped(const char *source, const char *words)
{
    sg_error err;
    char *text;
    CHECK_STATUS(sg_template_render(&text, source, "test", "{}", NOW, &err), SG_EUNSUPPORTED);
    CHECK_TEXT(err.text, words);
}

static void a_template_that_takes_too_much_is_stopped(void **state)
{
    (void)state;
    check_stopped("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "steps");
    check_stopped("{% for a in range(1000000000) %}{% endfor %}", "steps");
    check_stopped("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "nest too deep");
    check_stopped("{{ 'abcdefghij' * 100000000 }}", "more than 16 MiB");
    check_stopped("{% set x = 'aaaaaaaaaaaaaaaa' * 65536 %}{% for i in range(99) %}{{ x }}{% endfor %}",
                  "more than 16 MiB");
    check_stopped(
        "{% set ns = namespace(x='a' * 1048576) %}{% for i in range(9999) %}{% set ns.x = ns.x + 'b' %}{% endfor %}",
        "takes more than");
    check_stopped(
        "{% set ns = namespace(x='a' * 4194304) %}{% for i in range(99) %}{% set ns.x = ns.x|replace('a', 'aa') %}"
        "{% endfor %}",
        "MiB");
    check_stopped("{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
                  "steps");
    check_stopped("{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}", "nests too deep");
    check_stopped("{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns|tojson }}", "nests more than");
    sg_str deep = {0};
    for (int i = 0; i < 5000; i++)
        sg_str_puts(&deep, "{% if x %}");
    check_stopped(deep.text, "nests more than");
    deep.bytes = 0;
    sg_str_puts(&deep, "{{ ");
    for (int i = 0; i < 5000; i++)
        sg_str_puts(&deep, "(");
    sg_str_puts(&deep, " }}");
    check_stopped(deep.text, "nests more than");
    for (int kind = 0; kind < 4; kind++) {
        static const char *const links[] = {" + 1", ".a", "|string", " and 1"};
        sg_error err;
        char *text;
        deep.bytes = 0;
        sg_str_puts(&deep, "{{ x");
        for (int i = 0; i < 100000; i++)
            sg_str_puts(&deep, links[kind]);
        sg_str_puts(&deep, " }}");
        CHECK(sg_template_render(&text, deep.text, "test", "{}", NOW, &err) != SG_OK);
    }
    sg_str_free(&deep);
}

static void every_truncation_of_a_template_is_met(void **state)
{
    (void)state;
    static const char source[] =
        "{% macro f(a, b=[1, (2,)]) -%}{{ (a|default('\\u00e9'))[1:-1:2] ~ b }}{% endmacro %}{# note #}{% for k, v in "
        "{'x': 1.5e3, 'y': none}.items() if v is not none and not v in [] %}{% set ns = namespace(q=-v ** 2) %}{% if "
        "loop.first %}{{ f(k ~ 'abcdef', b='z') }}{% elif v %}{% break %}{% else %}{{ ns.q if ns.q < 3 <= 4 else v "
        "}}{% endif "
        "%}{% endfor %}{% raw %}{{{% endraw %}{% filter upper|trim %}a{% endfilter %}";
    sg_error err;
    char *text;
    CHECK_OK(sg_template_render(&text, source, "test", "{}", NOW, &err), &err);
    assert_string_equal(text, "acez{{A");
    free(text);
    for (size_t n = 0; n + 1 < sizeof source; n++) {
        char *part = malloc(n + 1);
        memcpy(part, source, n);
        part[n] = '\0';
        if (sg_template_render(&text, part, "test", "{}", NOW, &err) != SG_OK)
            CHECK_TEXT(err.text, "test: line ");
        free(text);
        free(part);
    }
}

static sg_status use_all(sg_error *err)
{
    static const char source[] =
        "{% set ns = namespace(a=[]) %}{% for m in messages %}{% set ns.a = ns.a + [m.content|upper] "
        "%}{% endfor %}{% set q %}{{ ns.a|join(' ')|replace('A', 'b') }}{% endset %}{{ q|tojson }}"
        "{{ 'a b'.split() }}{{ messages|map(attribute='role')|list }}";
    static const sg_chat_message messages[] = {{"user", "a"}, {"assistant", "b"}};
    static sg_tokenizer *t;
    if (!t)
        t = with_template(source);
    char *text;
    const sg_status status = sg_chat_render(&text, t, 2, messages, sg_chat_defaults(), err);
    if (status == SG_OK)
        assert_string_equal(text, "\"b B\"['a', 'b']['user', 'assistant']");
    free(text);
    return status;
}

static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    CHECK_OK(use_all(NULL), NULL); /* the tokenizer is made once */
    for (int kind = SG_FAULT_ONCE; kind <= SG_FAULT_ONWARD; kind++) {
        long n_faults = 0;
        for (;; n_faults++) {
            sg_error err = {.text = ""};
            sg_faults_begin(n_faults, (sg_fault_kind)kind);
            const sg_status status = use_all(&err);
            if (!sg_faults_end()) {
                CHECK_OK(status, &err);
                break;
            }
            CHECK(status == SG_ENOMEM);
        }
        CHECK(n_faults > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_give_what_jinja_gives),
        cmocka_unit_test(a_chat_becomes_its_text),
        cmocka_unit_test(a_chat_that_cannot_be_says_why),
        cmocka_unit_test(a_template_that_takes_too_much_is_stopped),
        cmocka_unit_test(every_truncation_of_a_template_is_met),
        cmocka_unit_test(each_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
