/* The Playground as WebAssembly in Node: the original's numbers, the command's bytes, and an implementation of its own. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { Plain, stream } from './net.plain.mjs';
import { command, engineModules, epochs, goldens, native, shared, tolerances } from './net.native.mjs';

let m;
before(async () => {
    m = await engineModules();
});

const run = (address, use) => {
    const net = m.Net.create(m.engine, address);
    try {
        return use(net);
    } finally {
        net.free();
    }
};
const near = (got, wanted, most, what) => assert.ok(Math.abs(got - wanted) <= most, `${what}: ${got}, wanted ${wanted} within ${most}`);

test('the second implementation draws the random numbers of the original', () => {
    for (const [seed, first] of [['0.12345', 0.9152007406557323], ['hello', 0.5463663768140734], ['1', 0.2694488477791326]]) assert.equal(stream(seed)(), first);
});

for (const g of goldens) {
    test(`golden run in Node: ${g.name}`, () =>
        run(g.address, (net) => {
            const plain = new Plain(`x=true&y=true&${g.address}`);
            epochs.forEach((n, i) => {
                net.train(n - net.epoch);
                near(net.loss('train'), g.losses[i][0], tolerances[i], `training loss at ${n}`);
                near(net.loss('test'), g.losses[i][1], tolerances[i], `test loss at ${n}`);
            });
            near(plain.loss(plain.train), g.losses[0][0], 1e-12, 'the second implementation');
        }));

    test(`the command gives the same bytes: ${g.name}`, () =>
        run(g.address, (net) => {
            net.train(120);
            const there = native(g.address, 120);
            assert.equal(there.losses.train, net.loss('train'));
            assert.equal(there.losses.test, net.loss('test'));
            net.layers().forEach((l, i) => {
                assert.deepEqual(there.layers[i].weights.flat(), [...l.weights]);
                assert.deepEqual(there.layers[i].biases, [...l.biases]);
            });
        }));
}

test('the command gives the same bytes whatever the options', () => {
    for (const address of [...shared, 'seed=0.3&optimizer=adam&quick=true', 'seed=0.3&optimizer=momentum&activation=sigmoid&quick=true'])
        run(address, (net) => {
            net.train(7);
            const there = native(address, 7);
            const same = (a, b) => assert.ok(Object.is(a ?? NaN, b), `${address}: ${a}, in Node ${b}`);
            same(there.losses.train, net.loss('train'));
            same(there.losses.test, net.loss('test'));
            assert.equal(there.state, net.state);
        });
});

shared.forEach((address, i) => {
    test(`shared link ${i + 1} starts and learns as the specification says`, () =>
        run(address, (net) => {
            const plain = new Plain(address);
            near(net.loss('train'), plain.loss(plain.train), 1e-12, 'training loss of epoch 0');
            near(net.loss('test'), plain.loss(plain.test), 1e-12, 'test loss of epoch 0');
            for (let k = 0; k < 5; k++) plain.epoch();
            net.train(5);
            near(net.loss('train'), plain.loss(plain.train), 1e-9 * (1 + plain.loss(plain.train)), 'training loss of epoch 5');
            assert.equal(net.layers().flatMap((l) => l.dead).filter(Boolean).length, plain.dead, 'dead links');
        }));
});

test('an address is settled once and for all, and unknown names are passed over', () => {
    for (const address of shared) {
        const once = m.settle(m.engine, address);
        assert.equal(m.settle(m.engine, once), once);
        assert.ok(!once.includes('foo'));
        const s = m.readState(once);
        assert.equal(m.settle(m.engine, m.changed(s, {})), once);
    }
    const s = m.readState(m.settle(m.engine, shared[9]));
    assert.deepEqual([s.noise, s.batchSize, s.dataset, s.networkShape, s.inputs.x, s.inputs.sinY, s.problem], [50, 30, 'circle', [5], true, true, 'regression']);
    assert.equal(m.readState(m.settle(m.engine, 'optimizer=adam&seed=1')).optimizer, 'adam');
});

test('noise between 51 and 80 is kept', () => assert.equal(m.readState(m.settle(m.engine, 'noise=73')).noise, 73));

test('a saved net goes on to the same bytes, from either kind of file and in the command', () => {
    const address = 'seed=0.12345&batchSize=30&regularization=L1&regularizationRate=0.03&optimizer=momentum';
    run(address, (net) => {
        net.train(30);
        net.setWeight(1, 0, 2, 1.25);
        const saved = net.save();
        const file = m.toSafetensors(saved),
            json = m.toJson(saved);
        net.train(11);
        net.reset();
        net.train(2);
        const want = net.save().tensors;
        for (const back of [m.fromSafetensors(file.buffer.slice(0)), m.fromJson(json)]) {
            const again = m.Net.restore(m.engine, back);
            again.train(11);
            again.reset();
            again.train(2);
            assert.deepEqual(again.save().tensors, want);
            again.free();
        }
        const dir = mkdtempSync(join(tmpdir(), 'sightglass-net-'));
        try {
            writeFileSync(join(dir, 'model.safetensors'), file);
            writeFileSync(join(dir, 'config.json'), JSON.stringify({ model_type: 'playground', ...JSON.parse(json).playground }));
            const there = JSON.parse(command('net', 'run', '--load', dir, '--epochs', 11, '--json'));
            const here = m.Net.restore(m.engine, m.fromSafetensors(file.buffer));
            here.train(11);
            assert.equal(there.losses.test, here.loss('test'));
            assert.equal(there.epoch, 41);
            here.free();
            assert.match(command('inspect', dir), /PlaygroundNet, family playground/);

            /* and back: what the command saves */
            command('net', 'run', '--hash', address, '--epochs', 30, '--save', join(dir, 'b'), '--field', join(dir, 'f.npy'));
            const bytes = readFileSync(join(dir, 'b/model.safetensors'));
            const length = Number(bytes.readBigUInt64LE(0));
            assert.deepEqual(Object.keys(JSON.parse(bytes.subarray(8, 8 + length).toString())).filter((k) => k !== '__metadata__').sort(), saved.tensors.map((t) => t.name).sort());
            /* The field that it wrote is the page's. */
            const npy = readFileSync(join(dir, 'f.npy'));
            const field = new Float64Array(npy.buffer.slice(npy.byteOffset + 10 + npy.readUInt16LE(8), npy.byteOffset + npy.length));
            run(address, (net2) => {
                net2.train(30);
                assert.deepEqual(field, net2.computeFields(100).slice());
            });
        } finally {
            rmSync(dir, { recursive: true, force: true });
        }
    });
});

test('files that are no saved nets are told apart', () => {
    const good = run('seed=1', (net) => net.save());
    const file = m.toSafetensors(good);
    assert.throws(() => m.fromSafetensors(new ArrayBuffer(3)), /too short/);
    assert.throws(() => m.fromSafetensors(file.buffer.slice(0, 40)), /longer than the file|JSON/);
    assert.throws(() => m.fromSafetensors(file.buffer.slice(0, file.length - 1)), /does not fit/);
    assert.throws(() => m.fromJson('{"a":1}'), /playground/);
    assert.throws(() => m.fromJson('{'), /JSON/);
    assert.throws(() => m.Net.restore(m.engine, { ...good, tensors: good.tensors.filter((t) => t.name !== 'sums') }), /"sums"/);
    assert.throws(() => m.Net.restore(m.engine, { ...good, state: 'networkShape=3&seed=1' }), /layers\.0\.weight/);
    assert.throws(() => m.Net.restore(m.engine, { ...good, trainPoints: 1e6 }), /points/);
    const odd = structuredClone(good);
    odd.tensors.find((t) => t.name === 'stream').data[0] = 700;
    assert.throws(() => m.Net.restore(m.engine, odd), /700/);
});

test('own points from CSV', () => {
    const csv = new TextEncoder().encode('x,y,label\n1,2,1\n-1,-2,0\n');
    const points = m.readCsv(m.engine, csv, 'a.csv');
    assert.deepEqual([...points], [1, 2, 1, -1, -2, 0]);
    run('seed=1', (net) => {
        net.setOwn(points);
        assert.ok(net.own);
        assert.deepEqual([...net.points('train'), ...net.points('test')].filter((_, i) => i % 3 === 2).sort(), [-1, 1]);
    });
    assert.throws(() => m.readCsv(m.engine, new TextEncoder().encode('a,b\n'), 'b.csv'), /b\.csv/);
});

test('the graph of a net: values, gradients, and a value that is scaled', () =>
    run('seed=0.12345', (net) => {
        net.train(50);
        const points = Float32Array.of(1, 2, -3, 0.5),
            targets = Float32Array.of(1, -1);
        const look = net.look();
        assert.ok(look.names.includes('layers.1.hook_post'));
        const out = look.fetch('output', points, targets);
        near(out[0], net.output(1, 2), 1e-5, 'output');
        const w = look.fetch('layers.0.weight', points, targets, true);
        /* the gradient against a difference of the loss in double */
        const lossAt = () => [0, 1].reduce((sum, i) => sum + (net.output(points[2 * i], points[2 * i + 1]) - targets[i]) ** 2 / 4, 0);
        const l = net.layers()[0],
            h = 1e-4;
        net.setWeight(0, 1, 0, l.weights[2] + h);
        const up = lossAt();
        net.setWeight(0, 1, 0, l.weights[2] - h);
        const down = lossAt();
        net.setWeight(0, 1, 0, l.weights[2]);
        near(w[2], (up - down) / (2 * h), 1e-4, 'gradient');
        look.free();
        /* A unit of the first layer put to 0: as if its weights were. */
        const edited = net.look({ name: 'layers.0.hook_post', scale: Float32Array.of(1, 0, 1, 1), add: new Float32Array(4) });
        const without = edited.fetch('output', points, targets);
        edited.free();
        for (const u of [0, 1]) net.setWeight(1, u, 1, 0);
        near(without[0], net.output(1, 2), 1e-5, 'output without a unit');
        assert.throws(() => net.look({ name: 'layers.9.hook', scale: Float32Array.of(1), add: Float32Array.of(0) }), /nearest/);
    }));
