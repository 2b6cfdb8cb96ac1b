/* How long a slider of Inspect waits: requests over HTTP that differ from the one before in an edit's strength alone.
 *
 *     node bench/inspect.mjs [--json]      against build/sightglass, on stories260K and othello8
 *
 * Each answer is what the page shows at once: the ten likeliest tokens, loss, rank and entropy at every position of the
 * unedited and of the edited run, and how far they are apart. Times are from the request's first byte to the answer's last,
 * on one connection, after ten requests that are not counted. */
import { Agent, request } from 'node:http';
import { model, serve } from '../web/test/server.mjs';

const stories = model('models/stories260K');
const story = 'Once upon a time, there was a little girl who wanted to play. Every day, she went to the park with her mom. ';
const moves = 'f5 d6 c3 d3 c4 f4 f6 f3 e6 e7';
const cases = [
    ...(stories
        ? [
              { model: 'stories260K', what: 'a sentence', text: story, site: 'blocks.2.hook_mlp_out', limit: 50 },
              { model: 'stories260K', what: 'half its context', text: story.repeat(6), site: 'blocks.2.hook_mlp_out', limit: 50 },
          ]
        : []),
    { model: 'othello8', what: 'ten moves', text: moves, site: 'blocks.4.hook_resid_post', limit: 150 },
    { model: 'othello8', what: 'its whole context', text: moves, repeat: 6, site: 'blocks.4.hook_resid_post', limit: 150 },
];
if (cases.length < 4) console.log('stories260K is not here: left out');

const server = await serve([model('models/othello8'), ...(stories ? [stories] : [])]);
const url = new URL(server.url);
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const post = (path, body) =>
    new Promise((resolve, reject) => {
        const began = performance.now();
        const r = request({ agent, host: url.hostname, port: url.port, path, method: 'POST', headers: { Authorization: `Bearer ${url.searchParams.get('token')}`, 'Content-Type': 'application/json' } }, (response) => {
            const parts = [];
            response.on('data', (p) => parts.push(p));
            response.on('end', () => {
                const ms = performance.now() - began;
                const text = Buffer.concat(parts).toString();
                if (response.statusCode !== 200) reject(new Error(text));
                else resolve({ ms, reply: JSON.parse(text), bytes: text.length });
            });
        });
        r.on('error', reject);
        r.end(JSON.stringify(body));
    });

const out = [];
try {
    for (const c of cases) {
        const path = `/api/v1/models/${c.model}/run`;
        let prompt = { text: c.text };
        if (c.repeat) {
            const { reply } = await post(path, { prompt, top: 1 });
            const ids = reply.tokens.map((t) => t.id);
            prompt = { tokens: Array.from({ length: ids.length * c.repeat }, (_, i) => ids[i % ids.length]) };
        }
        const times = [];
        let n = 0,
            bytes = 0;
        for (let i = 0; i < 210; i++) {
            const answer = await post(path, { prompt, top: 10, edits: [{ site: c.site, op: 'scale', strength: i / 100 }] });
            if (i >= 10) times.push(answer.ms);
            n = answer.reply.tokens.length;
            bytes = answer.bytes;
        }
        times.sort((a, b) => a - b);
        const at = (q) => times[Math.floor(q * (times.length - 1))];
        out.push({ model: c.model, what: c.what, tokens: n, bytes, p50_ms: at(0.5), p95_ms: at(0.95), longest_ms: at(1), limit_ms: c.limit });
    }
} finally {
    agent.destroy();
    await server.stop();
}
if (process.argv.includes('--json')) console.log(JSON.stringify(out, null, 1));
else
    for (const o of out)
        console.log(
            `${o.model.padEnd(12)} ${o.what.padEnd(18)} ${String(o.tokens).padStart(4)} tokens  p50 ${o.p50_ms.toFixed(1).padStart(6)} ms  p95 ${o.p95_ms.toFixed(1).padStart(6)} ms  longest ${o.longest_ms.toFixed(1).padStart(6)} ms  (wanted: ${o.limit_ms})`,
        );
