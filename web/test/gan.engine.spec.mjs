/* The GAN in Node, by the page's own TypeScript and the page's own WebAssembly, against the native command: the same bytes from the
 * same seed. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { engineModules, native } from './gan.native.mjs';
import { build as built, root } from './place.mjs';

const folder = mkdtempSync(join(tmpdir(), 'sightglass-gan-'));
let engine, Gan, gan;

before(async () => {
    gan = await engineModules();
    Gan = gan.Gan;
    engine = await gan.load(join(built, 'wasm/sightglass.wasm'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const flags = (o, iterations, file) => [
    'run', '--every', 0, '--shape', o.shape, '--noise', o.noise.toLowerCase().replace(' ', '-'), '--loss', o.loss === 'Log loss' ? 'log' : 'squares', '--seed', o.seed,
    ...['d', 'g'].flatMap((n) => [`--${n}-layers`, o[n].layers, `--${n}-units`, o[n].units, `--k-${n}`, o[n].k, `--${n}-optimizer`, o[n].rule.toLowerCase(), `--${n}-rate`, o[n].rate]),
    '--iters', iterations, '--save', file,
]; // prettier-ignore

test('the lists of names are those of the engine', () => {
    const names = (of) => Array.from({ length: 8 }, (_, i) => engine.text(engine.call('gan_name', of, i))).filter((n) => n !== '');
    assert.deepEqual(names(0), [...gan.shapes]);
    assert.deepEqual(names(1), [...gan.noises]);
    assert.deepEqual(names(2), [...gan.losses]);
    assert.deepEqual(names(3), [...gan.rules]);
});

const cases = {
    'the usual settings, 500 iterations': [{}, 500],
    'least squares by Adam on a line of noise': [{ shape: 'line', noise: '1D Gaussian', loss: 'LeastSq loss', d: { layers: 2, units: 7, k: 1, rule: 'Adam', rate: 0.01 }, g: { layers: 0, units: 13, k: 2, rule: 'Adam', rate: 0.003 } }, 300],
    'a large net on normal noise': [{ shape: 'ring', noise: '2D Gaussian', seed: 123456789, d: { layers: 5, units: 100, k: 1, rule: 'SGD', rate: 0.03 }, g: { layers: 5, units: 100, k: 1, rule: 'Adam', rate: 0.001 } }, 3],
    'fresh weights': [{ shape: 'disjoint', noise: '1D Uniform', seed: 0 }, 0],
};
for (const [name, [options, iterations]] of Object.entries(cases))
    test(`native equals WebAssembly to the byte: ${name}`, () => {
        const o = { ...gan.defaults(), ...options };
        const g = Gan.create(engine, o);
        g.step('both', iterations);
        const file = join(folder, 'native.json');
        const said = JSON.parse(native(...flags(o, iterations, file), '--json'));
        const saved = g.save('native.weights.bin');
        assert.equal(saved.json, readFileSync(file, 'utf8'));
        assert.ok(Buffer.from(saved.weights).equals(readFileSync(join(folder, 'native.weights.bin'))), 'the weights differ');
        /* The command prints nine digits, which bring a float back. */
        const v = g.look();
        const same = (ours, theirs, what) => assert.deepEqual(Float32Array.from(ours), Float32Array.from(theirs.flat()), what);
        same(g.real(), said.real, 'real');
        same(v.fake, said.fake, 'fake');
        same(v.dReal, said.d_real, 'D of real');
        same(v.dFake, said.d_fake, 'D of fake');
        same(v.arrow, said.arrows, 'arrows');
        same(v.field, said.field, 'field');
        assert.equal(v.kl.toPrecision(8), said.kl.toPrecision(8));
        assert.equal(v.js.toPrecision(8), said.js.toPrecision(8));
        g.free();
    });

test('ten stages of slow motion are an iteration, in order', () => {
    const slow = Gan.create(engine, gan.defaults()),
        fast = Gan.create(engine, gan.defaults());
    for (let i = 0; i < 20; i++) assert.equal(slow.slow(), gan.stages[i % 10]);
    fast.step('both', 2);
    assert.deepEqual(slow.save('a').weights, fast.save('a').weights);
    slow.free();
    fast.free();
});

test('a model file opens here and on the command line, whoever wrote it', () => {
    for (const shape of ['line', 'gaussians', 'ring', 'disjoint']) {
        const at = join(root, 'models/gan'),
            json = readFileSync(join(at, `${shape}.json`), 'utf8');
        const files = new Map([[`${shape}.weights.bin`, new Uint8Array(readFileSync(join(at, `${shape}.weights.bin`)))]]);
        assert.deepEqual(gan.wantedFiles(json, shape), [`${shape}.weights.bin`]);
        const g = Gan.open(engine, json, files, shape, 1);
        const v = g.look(),
            said = JSON.parse(native('load', join(at, `${shape}.json`), '--json'));
        assert.deepEqual([v.iteration, g.options.shape], [said.iteration, shape]);
        assert.equal(v.js.toPrecision(8), said.js.toPrecision(8));
        g.step('both', 10);
        const saved = g.save('x.weights.bin');
        writeFileSync(join(folder, 'x.json'), saved.json);
        writeFileSync(join(folder, 'x.weights.bin'), saved.weights);
        const back = JSON.parse(native('load', join(folder, 'x.json'), '--json'));
        assert.deepEqual(Float32Array.from(back.fake.flat()), g.look().fake);
        g.free();
    }
});

test('a drawing travels in the file', () => {
    const strokes = Float32Array.from([0.1, 0.9, 0.5, 0.5, 1, 0]);
    const g = Gan.create(engine, { ...gan.defaults(), shape: 'drawing', strokes });
    const saved = g.save('x.weights.bin');
    const back = Gan.open(engine, saved.json, new Map([['x.weights.bin', saved.weights]]), 'x', 9);
    assert.deepEqual(back.options.strokes, strokes);
    assert.deepEqual(back.real(), g.real());
    g.free();
    back.free();
});

test('what is wrong with a file is said, and the engine goes on', () => {
    const json = readFileSync(join(root, 'models/gan/ring.json'), 'utf8'),
        numbers = new Uint8Array(readFileSync(join(root, 'models/gan/ring.weights.bin')));
    const file = (bytes) => new Map([['ring.weights.bin', bytes]]);
    const open = (text, bytes) => () => Gan.open(engine, text, file(bytes), 'ring.json', 1);
    assert.throws(open('{', numbers), /ring\.json/);
    assert.throws(open('[]', numbers), /weightsManifest/);
    assert.throws(open(json, numbers.slice(4)), /ends at byte/);
    assert.throws(open(json.replace('"numGeneratorNeurons":12', '"numGeneratorNeurons":13'), numbers), /its layers want/);
    assert.throws(open(json.replace('"ring"', '"star"'), numbers), /shape_name is "star", wanted one of/);
    assert.throws(() => Gan.open(engine, json, new Map(), 'ring.json', 1), /ring\.weights\.bin/);
    assert.throws(() => Gan.create(engine, { ...gan.defaults(), g: { ...gan.defaults().g, units: 0 } }), /0 units/);
    open(json.replace('"ring"', '"RING"').replace('"ring.weights.bin"', '"../somewhere/ring.weights.bin"'), numbers)().free();
});

/* The public library, where somebody has installed it (npm install --no-save @tensorflow/tfjs-core @tensorflow/tfjs-backend-cpu). */
test('the real TensorFlow.js decodes what is saved', async (t) => {
    let io;
    try {
        const library = createRequire(import.meta.url);
        library('@tensorflow/tfjs-backend-cpu');
        ({ io } = library('@tensorflow/tfjs-core'));
    } catch {
        t.skip('@tensorflow/tfjs-core and tfjs-backend-cpu are not installed');
        return;
    }
    const g = Gan.create(engine, gan.defaults());
    g.step('both', 5);
    const { json, weights } = g.save('x.weights.bin');
    const specs = JSON.parse(json).weightsManifest[0].weights;
    const decoded = io.decodeWeights(weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.byteLength), specs);
    const all = [];
    for (const { name, shape } of specs) {
        assert.deepEqual(decoded[name].shape, shape);
        all.push(...decoded[name].dataSync());
    }
    assert.deepEqual(Float32Array.from(all), new Float32Array(weights.buffer, weights.byteOffset, weights.byteLength / 4));
    g.free();
});
