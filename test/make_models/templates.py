#!/usr/bin/env python3
"""Writes test/data/templates.json: chat templates and small ones, with what Jinja makes of them.

The templates are written here, after how the families' chats are known to look; what they give comes from Debian's
python3-jinja2 in the environment that chat templates are run in (blocks trimmed, a sandbox, loop controls, tojson as plain
JSON, raise_exception, strftime_now).  Run from anywhere.
"""

import datetime
import json
import pathlib

import jinja2
import jinja2.sandbox

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "templates.json"
NOW = 1700000000  # 14 November 2023, 22:13:20 UTC


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def strftime_now(form):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


# ---- chats ----

CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}\
{% else %}{% set rest = messages %}{% set system = false %}{% endif %}
{% for m in rest %}
{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant must take turns') }}{% endif %}
{% if loop.index0 == 0 and system != false %}
{% set text = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + m['content'] %}
{% else %}
{% set text = m['content'] %}
{% endif %}
{% if m['role'] == 'user' %}
{{- bos_token + '[INST] ' + text.strip() + ' [/INST]' }}
{%- elif m['role'] == 'assistant' %}
{{- ' ' + text.strip() + ' ' + eos_token }}
{%- endif %}
{% endfor %}"""

LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if message.tool_calls|length != 1 %}
            {{- raise_exception("one call at a time") }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- elif message.role == "tool" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{%- set user_messages = turns | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace(n=0) %}
{%- for m in turns %}
    {%- if (m["role"] == "user") != (ns.n % 2 == 0) %}
        {{- raise_exception("roles must alternate") }}
    {%- endif %}
    {%- set ns.n = ns.n + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for m in turns %}
    {%- if m["role"] == "user" %}
        {%- if loop.last and system is defined %}
            {{- "[INST] " + system + "\\n\\n" + m["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + m["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + m["content"]|trim + eos_token }}
    {%- endif %}
{%- endfor %}
{#- the end -#}
{{ user_messages | length }}
"""

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('there is no system role') }}{% endif %}\
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('roles must alternate') }}{% endif %}\
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"""

GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

PHI3 = """{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}\
{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}\
{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""

QWEN3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<r>\\n' + content + '\\n</r>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

MACROS = """{%- macro typed(name, schema, level=0) -%}
{{ '  ' * level }}{{ name }}: {{ schema.type | default('any') }}
{%- if schema.properties is defined %}
{%- for key, value in schema.properties | dictsort %}

{{ typed(key, value, level=level + 1) }}
{%- endfor %}
{%- endif %}
{%- endmacro -%}
{%- for t in tools -%}
{{ typed(t.function.name, t.function.parameters) }}
{% endfor -%}
"""

TALK = [
    {"role": "system", "content": "Be brief. "},
    {"role": "user", "content": " Hello, \u00e9t\u00e9!"},
    {"role": "assistant", "content": "Hi.\n"},
    {"role": "user", "content": "Why?"},
]
THINKING = [
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "<think>\nfour\n</think>\n\n4"},
    {"role": "user", "content": "3+3?"},
    {"role": "assistant", "content": "<think>\nsix\n</think>\n\n6"},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Tells the \"weather\".",
            "parameters": {"type": "object", "properties": {"where": {"type": "string"}, "days": {"type": "integer"}}},
        },
    }
]
CALLS = [
    {"role": "user", "content": "Weather in Rome?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"where": "Rome", "days": 1.5}}}],
    },
    {"role": "tool", "content": "sunny"},
    {"role": "assistant", "content": "It is sunny."},
]
PARTS = [
    {"role": "system", "content": [{"type": "text", "text": "Look."}]},
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " What is it? "}]},
]


def chat(messages, **more):
    return {"messages": messages, "add_generation_prompt": True, "tools": None, "bos_token": "<s>", "eos_token": "</s>", **more}


CHATS = [
    ("chatml", CHATML, chat(TALK)),
    ("chatml without a prompt", CHATML, chat(TALK, add_generation_prompt=False)),
    ("llama-2", LLAMA2, chat(TALK)),
    ("llama-2 without a system", LLAMA2, chat(TALK[1:])),
    ("llama-2 out of turn", LLAMA2, chat(TALK[2:])),
    ("llama-3", LLAMA3, chat(TALK)),
    ("llama-3 with a date", LLAMA3, chat(TALK[1:], date_string="1 Jan 2000")),
    ("llama-3 with tools", LLAMA3, chat(CALLS, tools=TOOLS)),
    ("mistral", MISTRAL, chat(TALK)),
    ("mistral without a system", MISTRAL, chat(TALK[1:])),
    ("mistral out of turn", MISTRAL, chat(TALK[1:2] * 2)),
    ("gemma", GEMMA, chat(TALK[1:], bos_token="<bos>")),
    ("gemma with a system", GEMMA, chat(TALK)),
    ("gemma-3", GEMMA3, chat(TALK)),
    ("gemma-3 with parts", GEMMA3, chat(PARTS)),
    ("gemma-3 without content", GEMMA3, chat([{"role": "user", "content": 3}])),
    ("phi-3", PHI3, chat(TALK)),
    ("phi-3 without a prompt", PHI3, chat(TALK, add_generation_prompt=False)),
    ("qwen-3", QWEN3, chat(TALK)),
    ("qwen-3 not thinking", QWEN3, chat(TALK, enable_thinking=False)),
    ("qwen-3 that thought", QWEN3, chat(THINKING, add_generation_prompt=False)),
    ("qwen-3 with tools", QWEN3, chat(CALLS, tools=TOOLS)),
    ("macros that call themselves", MACROS, chat([], tools=TOOLS)),
]

# ---- the language, a piece at a time ----

VARS = {
    "x": 7, "f": 2.5, "s": "Hello, World", "u": "na\u00efve \u2603", "e": "", "n": None, "t": True, "l": [3, 1, 2],
    "m": {"a": 1, "b": {"c": "deep"}, "keys": "no"}, "sp": "  two\n words \t", "p": [{"k": "x", "v": 2}, {"k": "y"}, {"k": "X", "v": 1}],
}
PIECES = [
    "plain", "", "\n", "a\n", "a\n\n", "\n\na", "{{ x }}", "{{x}}\n", "{{ x }}\n\nb", "a {{- x -}} b", "a  {{+ x +}}  b",
    "{% if t %}\nyes\n{% endif %}\nend", "  {% if t %}\n  yes\n  {% endif %}\n  end", "a {% if t %} b {% endif %} c",
    "a\n\t {%- if t -%} \n b \n{%- endif -%} \n c", "a\n  {%+ if t %}\nb{% endif +%}\nc", "a {# note #} b", "a\n  {# note #}\nb",
    "a\n {#- note -#} \nb", "{% raw %}{{ x }} {% if %}{% endraw %}!", "{%- raw -%} {{ x }} {%- endraw -%} !",
    "{{ '{{' }} {{ '%}' }}", "{{ \"a'b\" }}{{ 'c\"d' }}", "{{ 'a\\n\\tb\\\\ \\x41\\u00e9' }}", "{{ 'a' 'b' \"c\" }}",
    "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 3 }}",
    "{{ 1.0 }} {{ 0.1 + 0.2 }} {{ 1e20 }} {{ 1e-7 }} {{ 3.0 * 2 }} {{ 1/3 }} {{ 100000.0 }} {{ -0.5 }} {{ 1_000 }}",
    "{{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 2 ** 0.5 }} {{ 2 ** -1 }}",
    "{{ x / 0 }}", "{{ 5 % 0 }}", "{{ -x }} {{ +x }} {{ -f }}", "{{ -x|abs }}",
    "{{ 'a' ~ 1 ~ none ~ true ~ 2.5 }}", "{{ 'ab' * 3 }}{{ 2 * 'c' }}|{{ 'd' * 0 }}", "{{ 'a' + 1 }}", "{{ l + [9] }}",
    "{{ true }} {{ false }} {{ none }} {{ True }} {{ None }}", "{{ t and x }} {{ e or 'z' }} {{ not x }} {{ not e and 1 }}",
    "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 == 1.0 }} {{ '1' == 1 }} {{ t == 1 }} {{ 'a' < 'b' }} {{ x != 7 }} {{ x >= 7 }}",
    "{{ 1 < 'a' }}", "{{ [1, 2] == [1, 2] }} {{ (1, 2) == [1, 2] }} {{ {'a': 1} == {'a': 1} }} {{ none == none }}",
    "{{ 'ell' in s }} {{ 'z' not in s }} {{ 1 in l }} {{ 'a' in m }} {{ 1 in m }} {{ 'q' in nope }} {{ '' in s }}",
    "{{ 1 in s }}", "{{ 1 in 5 }}", "{{ 'yes' if x > 5 else 'no' }} {{ 'a' if e }}|{{ 1 if t else 2 if x else 3 }}",
    "{{ m.a }} {{ m['a'] }} {{ m.b.c }} {{ m['b']['c'] }} {{ m.nope }}|{{ m['nope'] }}|", "{{ m.nope.deeper }}", "{{ nope }}|",
    "{{ nope.x }}", "{{ nope['x'] }}", "{{ nope() }}", "{{ nope + 1 }}", "{{ x.y }}|{{ s.y }}|{{ n.y }}|", "{{ n + 1 }}",
    "{{ l[0] }} {{ l[-1] }} {{ l[9] }}| {{ l.0 }} {{ s[1] }} {{ u[2] }} {{ u[-1] }} {{ s[99] }}|",
    "{{ l[1:] }} {{ l[:-1] }} {{ l[::2] }} {{ l[::-1] }} {{ l[5:] }} {{ l[-2:] }} {{ s[7:] }} {{ s[:5] }} {{ u[::-1] }} {{ l[1:2:1] }}",
    "{{ l[2:0:-1] }} {{ l[-9:9] }} {{ l[:] }} {{ l[none:2] }} {{ s[-5:-1] }} {{ 'abc'[5:1:-2] }} {{ l[-9::-1] }}", "{{ l[::0] }}", "{{ x[1:] }}",
    "{{ [1, 'a', none, true, 2.0, [], {}] }}", "{{ {'a': [1, 'it\\'s'], 'b': \"q\\\"\"} }}", "{{ (1, 2) }} {{ (1,) }} {{ () }} {{ 1, 2 }}",
    "{{ m }}", "{{ u }} {{ [u] }} {{ ['\\n', '\\\\'] }}",
    "{% for i in l %}{{ i }},{% endfor %}", "{% for i in [] %}{{ i }}{% else %}none{% endfor %}", "{% for i in nope %}x{% else %}y{% endfor %}",
    "{% for i in x %}{% endfor %}", "{% for c in 'a\u00e9' %}[{{ c }}]{% endfor %}", "{% for k in m %}{{ k }} {% endfor %}",
    "{% for k, v in m.items() %}{{ k }}={{ v }};{% endfor %}", "{% for (a, b) in [[1, 2], (3, 4)] %}{{ a }}{{ b }} {% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{% endfor %}", "{% for i in 1, 2, 3 %}{{ i }}{% endfor %}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}", "{% for i in l %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for i in [1, 1, 2] %}{{ loop.changed(i) }} {% endfor %}",
    "{% for i in l if i > 1 %}{{ loop.index }}:{{ i }} {% endfor %}", "{% for i in range(9) if i is odd %}{{ i }}{% endfor %}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in [1, 2] %}{% for j in [3, 4] %}{{ loop.depth }}{{ i }}{{ j }} {% endfor %}{% endfor %}",
    "{% set y = 1 %}{% for i in l %}{% set y = y + 1 %}{{ y }} {% endfor %}{{ y }}", "{% for i in l %}{{ z }}|{% set z = i %}{% endfor %}",
    "{% set ns = namespace(y=1, z='a') %}{% for i in l %}{% set ns.y = ns.y + i %}{% endfor %}{{ ns.y }}{{ ns.z }}{{ ns.q }}|",
    "{% set m.a = 2 %}", "{% set a, b = 1, [2] %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% if t %}{% set y = 5 %}{% endif %}{{ y }}",
    "{% set y %}a {{ x }} b{% endset %}[{{ y }}]", "{% set y | upper | trim %} a {{ x }} {% endset %}[{{ y }}]",
    "{% filter upper | replace('A', 'b') %}a{{ s }}{% endfilter %}", "{% with a = 1, b = x %}{{ a }}{{ b }}{% endwith %}{{ a }}|",
    "{% macro f(a, b=2, c=a) %}({{ a }},{{ b }},{{ c }}){% endmacro %}{{ f(1) }}{{ f(1, c=3) }}{{ f(b=0, a=9) }}{{ f() }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(q=1) }}",
    "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro f() %}{{ x }}{% endmacro %}{% set x = 8 %}{{ f() }}", "{% macro f() %}{% set q = 1 %}{% endmacro %}{{ f() }}{{ q }}|",
    "{% if x > 9 %}a{% elif x > 6 %}b{% elif x %}c{% else %}d{% endif %}", "{% if n %}{% else %}e{% endif %}",
    "{{ s|upper }} {{ s|lower }} {{ 'ab cD'|title }} {{ 'aB cD'|capitalize }} {{ u|upper }}", "[{{ sp|trim }}] [{{ 'xxaxx'|trim('x') }}] [{{ nope|trim }}]",
    "{{ s|length }} {{ u|length }} {{ l|length }} {{ m|count }} {{ nope|length }}", "{{ x|length }}",
    "{{ s|replace('l', 'L') }} {{ s|replace('l', 'L', 1) }} {{ s|replace('zz', '') }}", "{{ l|join }} {{ l|join(', ') }} {{ 'abc'|join('-') }} {{ p|join('+', attribute='k') }}",
    "{{ nope|default('d') }} {{ e|default('d') }}| {{ e|default('d', true) }} {{ n|default('d') }} {{ n|d('d', true) }} {{ nope|default }}|",
    "{{ l|first }} {{ l|last }} {{ []|first }}| {{ 'abc'|first }} {{ m|first }}", "{{ l|list }} {{ 'ab'|list }} {{ m|list }} {{ nope|list }}",
    "{{ l|sort }} {{ l|sort(reverse=true) }} {{ ['b', 'A', 'c']|sort }} {{ ['b', 'A']|sort(case_sensitive=true) }} {{ p|map(attribute='k')|sort|join }}",
    "{{ p|sort(attribute='k')|map(attribute='k')|join(' ') }}", "{{ [1, 'a']|sort }}",
    "{{ l|reverse|list }} {{ 'abc'|reverse }}", "{{ l|sum }} {{ l|min }} {{ l|max }} {{ [0.5, 1]|sum }} {{ []|max }}|",
    "{{ p|map(attribute='v', default=0)|list }} {{ l|map('string')|join('/') }} {{ ['a ', ' b']|map('trim')|list }} {{ ['a']|map('replace', 'a', 'b')|list }}",
    "{{ p|selectattr('v')|map(attribute='k')|list }} {{ p|selectattr('k', 'equalto', 'y')|list }} {{ p|rejectattr('v', 'defined')|map(attribute='k')|list }}",
    "{{ l|select('gt', 1)|list }} {{ l|reject('odd')|list }} {{ [0, 1, '', 'a']|select|list }} {{ p|selectattr('v', '>', 1)|list|length }}",
    "{{ [1, 2, 1]|unique|list }}", "{{ m.b|items|list }} {{ {'b': 1, 'a': 2}|dictsort }} {{ {'b': 1, 'a': 2}|dictsort(by='value') }}",
    "{{ '12'|int }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ 3.9|int }} {{ '2.5'|float }} {{ true|int }} {{ 2.5|round }} {{ 2.345|round(2) }} {{ x|float }}",
    "{{ x|string + 'a' }} {{ none|string }} {{ l|string }}", "{{ '<a href=\"x\">&\\'</a>'|e }} {{ '<'|safe }} {{ '<'|escape }}",
    "{{ 'a\\nb\\n\\nc'|indent }}|{{ 'a\\nb'|indent(2, true) }}|{{ 'a\\n\\nb'|indent(1, blank=true) }}|{{ 'a\\nb'|indent('> ') }}",
    "{{ m|tojson }} {{ [1, 2.0, none, true, 'é\"\\n']|tojson }} {{ 'a/b'|tojson }} {{ '<>&'|tojson }}", "{{ m|tojson(indent=2) }}", "{{ [[], {}, [1]]|tojson(indent=1) }}",
    "{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }} {{ u|tojson }}", "{{ nope|tojson }}", "{{ x|nofilter }}", "{{ x is notest }}",
    "{{ x is defined }} {{ nope is defined }} {{ nope is undefined }} {{ n is none }} {{ n is not none }} {{ x is not defined }}",
    "{{ s is string }} {{ x is number }} {{ f is float }} {{ x is integer }} {{ t is integer }} {{ t is boolean }} {{ t is true }} {{ t is false }} {{ x is true }} {{ t is number }}",
    "{{ m is mapping }} {{ l is mapping }} {{ l is sequence }} {{ s is sequence }} {{ m is sequence }} {{ l is iterable }} {{ x is iterable }} {{ s is iterable }} {{ range is callable }}",
    "{{ x is odd }} {{ x is even }} {{ x is divisibleby 7 }} {{ x is divisibleby(2) }} {{ x is eq 7 }} {{ x is equalto(7) }} {{ x is gt 3 }} {{ 1 is in l }} {{ 'a' is lower }} {{ 'a' is upper }}",
    "{{ x is eq 7 and t }} {{ not x is defined }} {{ x is defined and x > 3 }} {{ (x is odd)|string }}",
    "[{{ sp.strip() }}] [{{ sp.lstrip() }}] [{{ sp.rstrip() }}] {{ 'xyax'.strip('xy') }} {{ 'xa'.lstrip('x') }} {{ 'ax'.rstrip('x') }}",
    "{{ 'a,b,,c'.split(',') }} {{ sp.split() }} {{ 'a,b,c'.split(',', 1) }} {{ ' a b  c '.split(none, 1) }} {{ 'abc'.split('z') }} {{ ''.split() }} {{ ''.split(',') }}",
    "{{ 'a,b,c'.rsplit(',', 1) }} {{ 'a\\nb\\r\\nc\\n'.splitlines() }}", "{{ 'a'.split('') }}",
    "{{ s.startswith('He') }} {{ s.endswith('ld') }} {{ s.startswith(('x', 'He')) }} {{ s.endswith('x') }}", "{{ s.upper() }} {{ s.lower() }} {{ 'ab cd'.title() }} {{ 'aB'.capitalize() }}",
    "{{ s.replace('l', '') }} {{ s.replace('l', 'x', 1) }} {{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('z') }} {{ s.count('l') }} {{ u.find('\u2603') }}",
    "{{ ', '.join(['a', 'b']) }} {{ '-'.join('abc') }} {{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ ''.isdigit() }}",
    "{{ 'prefix-a'.removeprefix('prefix-') }} {{ 'a.txt'.removesuffix('.txt') }} {{ 'a'.removeprefix('b') }}", "{{ ', '.join([1]) }}",
    "{{ m.get('a') }} {{ m.get('q') }} {{ m.get('q', 5) }} {{ m.keys()|list }} {{ m.b.values()|list }} {{ m.b.items()|list }}", "{{ l.append(1) }}", "{{ l.index(1) }}", "{{ l.index(99) }}",
    "{{ s.nomethod() }}", "{{ range(3)|list }} {{ range(1, 4)|list }} {{ range(5, 0, -2)|list }} {{ dict(a=1, b=2) }}", "{{ raise_exception('no ' + s) }}",
    "{{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%d %B %Y, %H:%M') }}", "{{ 1 ", "{% if x %}", "{% if x %}a", "{% endif %}", "{% for %}{% endfor %}", "{% nosuch %}", "{{ }}", "{% %}",
    "{{ 'a }}", "{# a", "{% raw %}a", "{{ 1 + }}", "{{ a b }}", "{{ (1 }}", "{{ [1 }}", "{{ {1 }}", "{{ x|  }}", "{% set %}", "{% set x %}", "{% macro %}{% endmacro %}", "{% break %}", "{% else %}", "{{ @ }}", "{{ x; }}",
    "a { b } c {  d", "{{ '\u00e9' }}{{ m.b.c[0] }}", "\r\na\r\n{{ x }}\r\nb\rc", "{{ {'a': {'b': 1}}.a.b }}", "{{ ({'a': 1}).a }}{{ {'a': 1}['a'] }}", "{{ {'a': {}} }}", "{{ x}}{{x }}", "{%if t%}a{%endif%}",
    "{{ [x, f]|join(' ') if t else '' }}", "{{ 'a' if t else 'b' ~ 'c' }}", "{{ not t == false }} {{ 1 + 2 == 3 and 'a' ~ 'b' == 'ab' }}", "{{ x if x is defined else 'no' }}", "{{ 2 * -3 }} {{ 2 - -3 }} {{ 10 - 2 - 3 }} {{ 2 * 3 % 4 }}",
    "{% if messages is defined %}a{% else %}b{% endif %}", "{% for i in l -%}\n  {{ i }}\n{%- endfor %}", "{% for i in l %}\n  {{ i }}\n{% endfor %}\nend", "{{ '\\u2603' }}", "{{ '%s' }}", "{{ s | upper | lower | title }}",
    "{{ l | map('int') | map('string') | join('') | int + 1 }}", "{{ (l | length) * 2 }} {{ l | length * 2 }} {{ l|length > 2 }} {{ 'n' ~ l|length }}", "{{ t is true and f is not none or nope }}",
]


def expected(env, source, variables):
    try:
        return {"text": env.from_string(source).render(**variables)}
    except Exception as error:  # whatever Python makes of it, it is an error for us too
        return {"error": type(error).__name__}


def main():
    env = environment()
    cases = [{"name": name, "source": source, "variables": variables, **expected(env, source, variables)} for name, source, variables in CHATS]
    cases += [{"source": source, **expected(env, source, VARS)} for source in PIECES]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    OUT.write_text('{"now": %d, "variables": %s, "cases": [\n%s\n]}\n' % (NOW, json.dumps(VARS, ensure_ascii=False), lines))


main()
