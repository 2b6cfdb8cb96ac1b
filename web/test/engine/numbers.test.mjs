/* Same seed, same numbers: the native reference backend on one and on two threads, Node, a page and a worker in Chromium come to
 * the same bytes for every graph of graphs.mjs. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { openBrowser } from '../place.mjs';
import { bundle, folder, root, wasm } from './bundle.mjs';
import { asJson, cases } from './graphs.mjs';

const MOST_BYTES = 400_000; /* gzipped */
const list = cases();
let engine, lines;

before(async () => {
    const { load, numbersOf } = await bundle();
    engine = await load(wasm);
    lines = numbersOf(engine, list);
    writeFileSync(join(folder, 'graphs.json'), asJson(list));
});

/* The first few that differ; what the values are computed from often differs first. */
function sameLines(got, wanted) {
    assert.equal(got.length, wanted.length);
    const off = wanted.map((line, i) => [line, got[i]]).filter(([a, b]) => a !== b);
    assert.equal(off.length, 0, `${off.length} of ${wanted.length} differ:\n${off.slice(0, 8).map(([a, b]) => `  ${b}\n  wanted ${a}`).join('\n')}`);
}

function native(threads, file = 'graphs.json') {
    const program = join(process.env.SG_BUILD ?? join(root, 'build'), 'engine_numbers');
    const run = spawnSync(program, [join(folder, file), String(threads)], {
        env: { ...process.env, OMP_NUM_THREADS: String(threads), OMP_WAIT_POLICY: 'passive' },
        encoding: 'utf8',
        maxBuffer: 1e8,
    });
    assert.equal(run.status, 0, `${program}: ${run.error ?? run.stderr}`);
    return run.stdout.trim().split('\n');
}

test('the graphs are many, and their values differ', () => {
    assert.ok(lines.length > 1500);
    assert.ok(new Set(lines.map((l) => l.split(' ').pop())).size > 1200); /* zeros and ones are in it more than once */
});

for (const threads of [1, 2]) {
    test(`the native reference backend on ${threads} thread${threads > 1 ? 's' : ''} gives Node's bytes`, () => {
        sameLines(lines, native(threads));
    });
}

test('with fused steps too, on one thread', async () => {
    const { numbersOf } = await bundle();
    writeFileSync(join(folder, 'fused.json'), JSON.stringify({ cases: JSON.parse(asJson(list)).cases.map((c) => ({ ...c, fuse: true })) }));
    sameLines(numbersOf(engine, list, { fuse: true }), native(1, 'fused.json'));
});

test('a page and a worker in Chromium give them too', async () => {
    const types = { mjs: 'text/javascript', html: 'text/html', json: 'application/json', wasm: 'application/wasm' };
    const worker = `import { load, numbersOf } from './engine.mjs';
onmessage = async ({ data: { module, cases } }) => postMessage(numbersOf(await load(module), cases));`;
    const page = `import { load, numbersOf } from './engine.mjs';
const { cases } = await (await fetch('graphs.json')).json();
const module = await WebAssembly.compile(await (await fetch('sightglass.wasm')).arrayBuffer());
window.inPage = numbersOf(await load('sightglass.wasm'), cases);
const w = new Worker('worker.mjs', { type: 'module' });
w.onmessage = ({ data }) => { window.inWorker = data; };
w.onerror = (e) => { window.inWorker = [String(e.message)]; };
w.postMessage({ module, cases });`;
    const served = {
        'index.html': '<!doctype html><title>numbers</title><script type="module" src="page.mjs"></script>',
        'page.mjs': page,
        'worker.mjs': worker,
        'engine.mjs': readFileSync(join(folder, 'engine.mjs')),
        'graphs.json': readFileSync(join(folder, 'graphs.json')),
        'sightglass.wasm': readFileSync(wasm),
    };
    const server = createServer((request, response) => {
        const name = new URL(request.url, 'http://x').pathname.slice(1) || 'index.html';
        if (!(name in served)) return response.writeHead(404).end();
        response.writeHead(200, {
            'Content-Type': types[name.split('.').pop()],
            'Content-Security-Policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:",
        });
        return response.end(served[name]);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const browser = await openBrowser();
    try {
        const tab = await browser.newPage();
        const wrong = [];
        tab.on('pageerror', (e) => wrong.push(String(e)));
        tab.on('console', (m) => m.type() === 'error' && !m.text().includes('404') && wrong.push(m.text()));
        await tab.goto(`http://127.0.0.1:${server.address().port}/`);
        await tab.waitForFunction(() => window.inWorker, null, { timeout: 120_000 });
        assert.deepEqual(wrong, []);
        sameLines(await tab.evaluate(() => window.inPage), lines);
        sameLines(await tab.evaluate(() => window.inWorker), lines);
    } finally {
        await browser.close();
        server.closeAllConnections?.();
        server.close();
    }
});

test('every builder is in a graph, and every operation is a builder or part of a gradient', () => {
    const used = new Set(list.flatMap((c) => c.values.map((v) => v.op)));
    const names = (call) => {
        const all = [];
        for (let i = 0, p; (p = engine.call(call, i)) !== 0; i++) all.push(engine.text(p));
        return all;
    };
    const builders = names('graph_builder'),
        operations = names('graph_operation');
    assert.ok(operations.length > 70);
    assert.deepEqual(builders.filter((b) => !used.has(b)), []);
    /* Gradients make these; the last writes caches of rows that lie apart, which a page has none of. */
    const inside = ['conv2d_weight', 'max_pool2d_index', 'avg_pool2d_back', 'resize2d_back', 'assign_rows'];
    assert.deepEqual(operations.filter((o) => !builders.includes(o)), inside);
});

test(`the engine's file is below ${MOST_BYTES / 1000} kB gzipped`, (t) => {
    const bytes = readFileSync(wasm),
        packed = gzipSync(bytes, { level: 9 }).length;
    t.diagnostic(`sightglass.wasm: ${bytes.length} bytes, ${packed} gzipped`);
    assert.ok(packed < MOST_BYTES, `${packed} bytes`);
});
