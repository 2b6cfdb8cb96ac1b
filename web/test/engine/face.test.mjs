/* The typed face: what its methods build, and what it says when something is wrong. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { bundle, wasm } from './bundle.mjs';

let engine, Graph, EngineError, load;

before(async () => {
    ({ Graph, EngineError, load } = await bundle());
    engine = await load(wasm);
});

const near = (got, wanted, most) => {
    assert.equal(got.length, wanted.length);
    wanted.forEach((w, i) => assert.ok(Math.abs(got[i] - w) <= most, `${got[i]}, wanted ${w}`));
};

test('gradients are those of the TensorFlow.js specification', () => {
    const g = new Graph(engine);
    const x = g.input('x', [2]),
        y = g.input('y', [2]),
        z = g.input('z', [3]);
    const [dx, dy] = g.grad(x.mul(y).sum(), [x, y]);
    const square = z.square().sum(),
        [dz] = g.grad(square, [z]);
    const s = g.session();
    const got = s.run({ x: [1, 2], y: [3, 4] }, { dx, dy });
    assert.deepEqual([...got.dx.data], [3, 4]);
    assert.deepEqual([...got.dy.data], [1, 2]);
    const second = s.run({ z: [1, 2, 3] }, { square, dz });
    assert.equal(second.square.data[0], 14);
    assert.deepEqual([...second.dz.data], [2, 4, 6]);
    g.free();
});

/* spec: Dense(3, tanh), Dense(1); mean squared error, batches of 2 in order; losses by version 4.22.0 of the public library */
for (const [rule, rate, losses] of [
    ['sgd', 0.1, [1.41431892, 0.46796209, 0.2376975, 0.12335775, 0.06752865]],
    ['adam', 0.01, [1.39743197, 1.22489083, 1.08004868, 0.95351052, 0.84327912]],
]) {
    test(`training by ${rule} has the losses of the TensorFlow.js specification`, () => {
        const g = new Graph(engine);
        const x = g.input('x', ['batch', 2]),
            y = g.input('y', ['batch', 1]);
        const w1 = g.variable('w1', [2, 3]),
            b1 = g.variable('b1', [3]),
            w2 = g.variable('w2', [3, 1]),
            b2 = g.variable('b2', [1]);
        const out = g.name(x.matmul(w1).add(b1).tanh().matmul(w2).add(b2), 'out');
        const loss = out.sub(y).square().mean();
        const updates = g.train(loss, [w1, b1, w2, b2], { rule, rate, runningPowers: true });
        const s = g.session();
        s.set('w1', [[0.1, -0.2, 0.3], [0.4, 0.5, -0.6]]);
        s.set(b1, [0, 0.1, -0.1]);
        s.set(w2, [[0.7], [-0.8], [0.9]]);
        s.set(b2, [0.05]);
        const xs = [[1, 2], [3, -1], [-2, 0.5], [0.3, 0.7]],
            ys = [[1], [0], [-1], [0.5]];
        const got = losses.map(() => {
            let sum = 0;
            for (const at of [0, 2]) sum += s.run({ x: xs.slice(at, at + 2), y: ys.slice(at, at + 2) }, { loss }, updates).loss.data[0] / 2;
            return sum;
        });
        near(got, losses, 1e-6);
        g.free();
    });
}

test('any value is fetched and fed by name, and only what is asked is computed', () => {
    const g = new Graph(engine);
    const x = g.input('x', ['batch', 2]),
        w = g.variable('w', [3, 2], { normal: 0.5 });
    const h = g.name(x.linear(w).tanh(), 'hidden');
    g.name(h.square().mean(), 'loss');
    const s = g.session({ seed: 3 });
    const whole = s.run({ x: [[1, 2], [3, 4]] }, { h: 'hidden', l: 'loss' });
    assert.deepEqual(whole.h.shape, [2, 3]);
    const alone = s.run({ hidden: [[1, 2, 3]] }, { l: 'loss' });
    near(alone.l.data, [14 / 3], 1e-6);
    assert.ok(!s.steps().includes('matmul') && !s.steps().includes('tanh'), s.steps().join());
    g.free();
});

test('a fork can be spliced, shares the variables, and leaves the graph as it was', () => {
    const g = new Graph(engine);
    const x = g.input('x', [2]),
        w = g.variable('w', [2], 3);
    const h = g.name(x.mul(w), 'h');
    g.name(h.sum(), 'y');
    const f = g.fork(),
        inside = f.same(h);
    f.replace(inside, inside.mul(10));
    const s = g.session(),
        t = f.session({ like: s });
    s.set('w', [1, 2]);
    assert.equal(s.run({ x: [1, 1] }, { y: 'y' }).y.data[0], 3);
    assert.equal(t.run({ x: [1, 1] }, { y: 'y' }).y.data[0], 30);
    g.free();
});

test('variables are saved and loaded by name', () => {
    const build = () => {
        const g = new Graph(engine);
        const x = g.input('x', [1, 4]);
        g.name(x.linear(g.variable('w', [2, 4], { uniform: [-1, 1] })), 'y');
        return g;
    };
    const a = build(),
        b = build(),
        sa = a.session({ seed: 1 }),
        sb = b.session({ seed: 2 });
    const run = (s) => [...s.run({ x: [[1, 2, 3, 4]] }, { y: 'y' }).y.data];
    assert.notDeepEqual(run(sa), run(sb));
    sb.load(sa.save());
    assert.deepEqual(run(sa), run(sb));
    a.free();
    b.free();
});

test('the same seed gives the same weights, another seed others', () => {
    const g = new Graph(engine);
    const w = g.variable('w', [100], { normal: 1 });
    const [a, b, c] = [5, 5, 6].map((seed) => [...g.session({ seed }).get(w).data]);
    assert.deepEqual(a, b);
    assert.notDeepEqual(a, c);
    g.free();
});

test('each kind of wrong use is an error in words', () => {
    const g = new Graph(engine);
    const x = g.input('x', ['batch', 2]);
    g.name(x.tanh(), 'hidden');
    const s = g.session({ guard: true });
    const says = (f, words) =>
        assert.throws(f, (e) => {
            assert.ok(e instanceof EngineError && words.test(e.message), e.message);
            return true;
        });
    says(() => s.run({}, { h: 'hidden' }), /x is needed and was not fed/);
    says(() => s.run({ x: [[1, 2, 3]] }, { h: 'hidden' }), /x is .*\[1,3\]|wanted/);
    says(() => s.run({ x: [[1, 2]] }, { h: 'hiden' }), /nearest is "hidden"/);
    says(() => s.run({ x: [[1, 2], [3]] }, { h: 'hidden' }), /beside lists of/);
    says(() => s.run({ x: new Float64Array(2) }, { h: 'hidden' }), /f32/);
    says(() => s.run({ x: [[NaN, 2]] }, { h: 'hidden' }), /NaN/i);
    says(() => g.op('tanhh', [x]), /nearest is "tanh"/);
    const other = new Graph(engine);
    says(() => other.input('a', [2, 3]).matmul(other.input('b', [2, 3])), /inner extents differ/);
    const third = new Graph(engine);
    says(() => third.op('softmax', [third.input('a', [2])], []), /takes 1 to 1 numbers, given 0/);
    for (const graph of [g, other, third]) graph.free();
});

test('memory grows under views and stays whole, and what is freed comes back', () => {
    const p = engine.alloc(80),
        view = engine.view('f64', p, 10);
    view.array.set([1, 2, 3]);
    const before = engine.memory.buffer.byteLength;
    const big = engine.alloc(64e6);
    assert.ok(engine.memory.buffer.byteLength > before);
    assert.equal(view.array[2], 3);
    engine.free(big);
    engine.free(p);
    const round = () => {
        const g = new Graph(engine);
        const x = g.input('x', [200, 200]);
        g.session().run({ x: new Float32Array(40000) }, { y: x.matmul(x).tanh() });
        g.free();
    };
    for (let i = 0; i < 5; i++) round();
    const size = engine.memory.buffer.byteLength;
    for (let i = 0; i < 200; i++) round();
    assert.equal(engine.memory.buffer.byteLength, size);
    assert.throws(() => engine.alloc(4.2e9), /no memory left/);
});

test('a trap is an error, and what the engine has not got is too', async () => {
    const own = await load(wasm);
    assert.throws(() => own.call('value_shape', 0xfffffff0), (e) => e instanceof EngineError && /the engine stopped/.test(e.message));
    assert.throws(() => own.call('value_shade', 0), /no function "value_shade"/);
});

test('the engine loads from a path, an address, bytes and a module', async () => {
    const bytes = readFileSync(wasm);
    for (const from of [wasm, pathToFileURL(wasm), bytes, await WebAssembly.compile(bytes)]) assert.match((await load(from)).version, /^\d+\.\d+\.\d+$/);
    await assert.rejects(load('/nowhere/sightglass.wasm'), /ENOENT/);
});
