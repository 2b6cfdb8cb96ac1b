/* The door for programs: `sightglass serve` asked by OpenAI's own client and by curl, beside what the commands say. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import OpenAI, { AuthenticationError, BadRequestError, NotFoundError } from 'openai';
import { build, model, models, serve, shared } from './server.mjs';

const stories = model('models/stories260K');
const goldenPath = join(shared, 'golden/stories260K.json');
const golden = existsSync(goldenPath) ? JSON.parse(readFileSync(goldenPath, 'utf8')) : null;
const skip = stories ? false : 'skipped: models/stories260K is not here';

let server, client, folder;

before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sightglass-openai-'));
    server = await serve(models(), { args: ['--no-page'] });
    client = new OpenAI({ baseURL: `${server.base}v1`, apiKey: server.token, maxRetries: 0 });
});

after(async () => {
    assert.equal(await server?.stop(), 0);
    rmSync(folder, { recursive: true, force: true });
});

const ONCE = { model: 'stories260K', prompt: 'Once upon a time', max_tokens: 40, temperature: 0 };
const SCALE = [{ site: 'blocks.2.hook_resid_post', op: 'scale', strength: 0.4 }];

/** What the command writes behind a prompt. */
function generate(prompt, n, ...more) {
    const said = execFileSync(join(build, 'sightglass'), ['generate', stories, '--text', prompt, '-n', String(n), '--json', ...more], {
        encoding: 'utf8',
        env: { ...process.env, OMP_NUM_THREADS: '1' },
    });
    const { text } = JSON.parse(said);
    assert.ok(text.startsWith(prompt));
    return text.slice(prompt.length);
}

function curl(path, body, ...args) {
    const data = body === undefined ? [] : ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)];
    return execFileSync('curl', ['-sS', '-N', '-H', `Authorization: Bearer ${server.token}`, ...data, ...args, `${server.base}${path}`], {
        encoding: 'utf8',
    });
}

test('models are listed and found', async () => {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.deepEqual(ids.slice(0, 2), ['othello6', 'othello8']);
    assert.equal((await client.models.retrieve('othello8')).object, 'model');
    assert.deepEqual(
        JSON.parse(curl('v1/models')).data.map((m) => m.id),
        ids,
    );
});

test('greedy text is that of the command and of the original', { skip }, async () => {
    const answer = await client.completions.create(ONCE);
    assert.equal(answer.object, 'text_completion');
    assert.equal(answer.choices[0].text, generate(ONCE.prompt, 40));
    assert.equal(answer.choices[0].finish_reason, 'length');
    assert.deepEqual(answer.usage, { prompt_tokens: 5, completion_tokens: 40, total_tokens: 45 });
    assert.equal(answer.origin.where, 'server');
    if (golden) assert.ok(golden.greedy_text.startsWith(ONCE.prompt + answer.choices[0].text));
});

test('a seed gives what the command gives, however many run beside it', { skip }, async () => {
    const ask = (seed) => client.completions.create({ ...ONCE, temperature: 0.8, top_p: 0.9, seed });
    const wanted = [3, 4, 5, 6].map((seed) => generate(ONCE.prompt, 40, '--temperature', '0.8', '--top-p', '0.9', '--seed', String(seed)));
    const answers = await Promise.all([3, 4, 5, 6].map(ask));
    assert.deepEqual(
        answers.map((a) => a.choices[0].text),
        wanted,
    );
    assert.equal(new Set(wanted).size, 4);
});

test('a stream reads as the whole', { skip }, async () => {
    const ask = { ...ONCE, temperature: 1, seed: 8, n: 2, logprobs: 1 };
    const whole = await client.completions.create(ask);
    const texts = ['', ''];
    const tokens = [[], []];
    let usage = null;
    let pieces = 0;
    for await (const chunk of await client.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
        usage = chunk.usage ?? usage;
        for (const c of chunk.choices) {
            texts[c.index] += c.text;
            tokens[c.index].push(...(c.logprobs?.tokens ?? []));
            pieces++;
        }
    }
    assert.deepEqual(
        texts,
        whole.choices.map((c) => c.text),
    );
    assert.deepEqual(
        tokens,
        whole.choices.map((c) => c.logprobs.tokens),
    );
    assert.deepEqual(usage, whole.usage);
    assert.ok(pieces > 40, `${pieces} pieces`);
});

test('stops, several prompts, echo and log-probabilities', { skip }, async () => {
    const stopped = await client.completions.create({ ...ONCE, stop: [' named', 'zzz'] });
    assert.equal(stopped.choices[0].text, generate(ONCE.prompt, 40).split(' named')[0]);
    assert.equal(stopped.choices[0].finish_reason, 'stop');
    const two = await client.completions.create({ ...ONCE, prompt: ['The dog', 'Once upon a time'], max_tokens: 8, echo: true, logprobs: 2 });
    assert.equal(two.choices[1].text, ONCE.prompt + generate(ONCE.prompt, 8));
    const { tokens, token_logprobs, top_logprobs } = two.choices[1].logprobs;
    assert.equal(tokens.length, 13);
    assert.equal(token_logprobs[0], null);
    assert.ok(token_logprobs.slice(1).every((x) => x <= 0));
    assert.ok(Object.keys(top_logprobs[12]).length >= 2);
});

test('chats answer, whole and streamed', { skip }, async () => {
    const ask = { model: 'stories260K', messages: [{ role: 'user', content: 'Tell me of a dog.' }], max_completion_tokens: 24, seed: 2 };
    const whole = await client.chat.completions.create({ ...ask, logprobs: true, top_logprobs: 2 });
    const { message, logprobs } = whole.choices[0];
    assert.equal(message.role, 'assistant');
    assert.equal(logprobs.content.length, whole.usage.completion_tokens);
    assert.ok(logprobs.content.every((t) => t.top_logprobs.length === 2 && t.logprob <= 0));
    const runner = client.chat.completions.stream(ask);
    const final = await runner.finalChatCompletion();
    assert.equal(final.choices[0].message.content, message.content);
    assert.equal(final.choices[0].finish_reason, whole.choices[0].finish_reason);
});

test('edits change what is written, as they do for the command', { skip }, async () => {
    const file = join(folder, 'edits.json');
    writeFileSync(file, JSON.stringify(SCALE));
    const wanted = generate(ONCE.prompt, 40, '--edits', file);
    const [edited, plain] = await Promise.all([
        client.completions.create({ ...ONCE, edits: SCALE }),
        client.completions.create(ONCE),
    ]);
    assert.equal(edited.choices[0].text, wanted);
    assert.notEqual(edited.choices[0].text, plain.choices[0].text);
    assert.equal(plain.choices[0].text, generate(ONCE.prompt, 40));
});

test('values come back beside the text', { skip }, async () => {
    const answer = await client.completions.create({ ...ONCE, max_tokens: 4, fetch: ['blocks.*.hook_resid_post', 'logits'] });
    const values = answer.choices[0].fetched;
    assert.deepEqual(
        values.map((v) => v.name),
        [0, 1, 2, 3, 4].map((i) => `blocks.${i}.hook_resid_post`).concat('logits'),
    );
    const bytes = Buffer.from(values[5].base64, 'base64');
    assert.deepEqual(values[5].shape, [8, 512]); // 5 of the prompt and 3 that were read after it
    assert.equal(bytes.length, 8 * 512 * 4);
    const row = new Float32Array(bytes.buffer.slice(bytes.byteOffset + 4 * 512 * 4, bytes.byteOffset + 5 * 512 * 4));
    const best = row.indexOf(Math.max(...row));
    const { text } = JSON.parse(curl('api/v1/models/stories260K/detokenize', { tokens: [best] }));
    assert.equal(text, answer.choices[0].text.slice(0, text.length)); // the likeliest is what was written
    let steps = 0;
    for await (const chunk of await client.completions.create({ ...ONCE, max_tokens: 4, stream: true, fetch: 'blocks.0.hook_resid_post' }))
        if (chunk.choices[0].fetched) assert.equal(chunk.choices[0].fetched[0].positions.length, steps++ === 0 ? 5 : 1);
    assert.equal(steps, 4);
});

test('games are written on', async () => {
    const game = await client.completions.create({ model: 'othello8', prompt: 'f5 d6', max_tokens: 2, temperature: 0 });
    assert.match(game.choices[0].text, /^ [a-h][1-8] [a-h][1-8]$/);
    const { tokens } = JSON.parse(curl('api/v1/models/othello8/tokenize', { text: 'f5 d6' }));
    const same = await client.completions.create({ model: 'othello8', prompt: tokens, max_tokens: 2, temperature: 0 });
    assert.equal(same.choices[0].text, game.choices[0].text);
});

test('embeddings are vectors of the width', async () => {
    const { data } = await client.embeddings.create({ model: 'othello6', input: ['d2 c5', 'd2'] });
    assert.deepEqual(
        data.map((e) => e.embedding.length),
        [128, 128],
    );
    const plain = JSON.parse(curl('v1/embeddings', { model: 'othello6', input: 'd2 c5' }));
    data[0].embedding.forEach((x, i) => assert.ok(Math.abs(x - plain.data[0].embedding[i]) < 1e-6));
});

test('what is wrong has the class that clients know', async () => {
    const is = (type, status, text) => (e) => e instanceof type && e.status === status && e.message.includes(text);
    await assert.rejects(client.completions.create({ model: 'gpt-4o', prompt: 'a' }), is(NotFoundError, 404, 'there are othello6'));
    await assert.rejects(client.models.retrieve('gpt-4o'), is(NotFoundError, 404, 'gpt-4o'));
    await assert.rejects(client.completions.create({ model: 'othello6', prompt: [3], temperature: -1 }), is(BadRequestError, 400, 'temperature'));
    await assert.rejects(
        client.completions.create({ model: 'othello6', prompt: [3], edits: [{ site: 'blocks.1.hook_resid', op: 'scale' }] }),
        is(BadRequestError, 400, 'the nearest is blocks.1.hook_resid_'),
    );
    await assert.rejects(
        client.chat.completions.create({ model: 'othello6', messages: [{ role: 'user', content: 'a' }], tools: [{ type: 'function', function: { name: 'f' } }] }),
        is(BadRequestError, 400, 'tools'),
    );
    const stranger = new OpenAI({ baseURL: `${server.base}v1`, apiKey: 'not-the-token', maxRetries: 0 });
    await assert.rejects(stranger.models.list(), is(AuthenticationError, 401, 'token'));
    assert.equal(curl('v1/models', undefined, '-o', '/dev/null', '-w', '%{http_code}', '-H', 'Origin: http://evil.example'), '403');
});

const metric = (name) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(curl('metrics'))?.[1] ?? NaN);

test('who leaves is not written for', { skip }, async () => {
    const before = metric('sightglass_tokens_generated_total');
    const gone = [1, 2, 3].map(async (seed) => {
        const stream = await client.completions.create({ ...ONCE, max_tokens: 400, n: 100, temperature: 1, seed, stream: true });
        for await (const chunk of stream) {
            void chunk;
            break; // the client closes the connection
        }
    });
    await Promise.all(gone);
    /* Threads that went on writing would answer this late, and the counter would tell. */
    const answer = await client.completions.create(ONCE);
    assert.equal(answer.usage.completion_tokens, 40);
    assert.ok(metric('sightglass_tokens_generated_total') - before < 3 * 100 * 200);
});

test('curl reads a stream', { skip }, () => {
    const said = curl('v1/completions', { ...ONCE, max_tokens: 5, stream: true });
    const events = said.trim().split('\n\n');
    assert.equal(events.pop(), 'data: [DONE]');
    const text = events.map((e) => JSON.parse(e.slice(6)).choices[0].text).join('');
    assert.equal(text, generate(ONCE.prompt, 5));
});
