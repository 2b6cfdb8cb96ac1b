/* node bench/engine.mjs [NATIVE]: the reference kernels in WebAssembly beside the same ones natively, one thread each. NATIVE is
 * build/sweep_engine (scripts/build build sweep_engine; scripts/build-wasm). Prints a table; the last column is time over time. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { bundle, wasm } from '../web/test/engine/bundle.mjs';

const native = process.argv[2] ?? fileURLToPath(new URL('../build/sweep_engine', import.meta.url));
const run = spawnSync(native, { encoding: 'utf8', env: { ...process.env, OMP_NUM_THREADS: '1' } });
if (run.status !== 0) {
    console.error(run.error?.message ?? run.stderr);
    process.exit(1);
}

const { Graph, load } = await bundle();
const engine = await load(wasm);

const numbers = (n, Kind) => Kind.from({ length: n }, (_, i) => -2 + ((i * 7919) % 4001) / 1000);
/* The session's own export on feeds that lie in its memory: the face's copies and names are no kernel's time. */
function least(session, feeds, fetches) {
    session.run(feeds, {}, fetches);
    let best = Infinity;
    const again = session.repeat(feeds, fetches);
    const began = performance.now();
    for (let i = 0; i < 5 || (performance.now() - began < 400 && i < 20000); i++) {
        const start = performance.now();
        again();
        best = Math.min(best, performance.now() - start);
    }
    return best / 1000;
}

const make = {
    matmul([dtype, sizes]) {
        const [m, k, n] = sizes.split('x').map(Number),
            Kind = dtype === 'f32' ? Float32Array : Float64Array,
            g = new Graph(engine);
        const a = g.input('a', [m, k], dtype),
            b = g.input('b', [k, n], dtype);
        return least(g.session(), new Map([[a, numbers(m * k, Kind)], [b, numbers(k * n, Kind)]]), [a.matmul(b)]);
    },
    conv2d() {
        const g = new Graph(engine),
            x = g.input('x', [8, 16, 32, 32]),
            w = g.variable('w', [16, 16, 3, 3], { normal: 0.1 });
        return least(g.session(), new Map([[x, numbers(8 * 16 * 1024, Float32Array)]]), [x.conv2d(w, undefined, { padding: 1 })]);
    },
    train([net, , batch]) {
        const sizes = net.split('-').map(Number),
            n = Number(batch),
            g = new Graph(engine);
        const x = g.input('x', [n, 2]),
            y = g.input('y', [n, 1]),
            params = [];
        let h = x;
        for (let l = 0; l + 1 < sizes.length; l++) {
            const w = g.variable(`w${l}`, [sizes[l + 1], sizes[l]], { normal: 0.5 }),
                b = g.variable(`b${l}`, [sizes[l + 1]], 0.1);
            params.push(w, b);
            h = h.linear(w, b).tanh();
        }
        const loss = h.sub(y).square().mean();
        const updates = g.train(loss, params, { rule: 'adam', rate: 0.001, eps: 1e-8 });
        return least(g.session(), new Map([[x, numbers(2 * n, Float32Array)], [y, numbers(n, Float32Array)]]), [loss, ...updates]);
    },
    unary([dtype], op) {
        const g = new Graph(engine),
            x = g.input('x', [100000], dtype);
        return least(g.session(), new Map([[x, numbers(100000, dtype === 'f32' ? Float32Array : Float64Array)]]), [x[op]()]);
    },
};

const time = (s) => (s < 1e-3 ? `${(s * 1e6).toFixed(2)} us` : `${(s * 1e3).toFixed(2)} ms`);
const speed = (s, amount, unit) =>
    unit === 'FLOP' ? `${(amount / s / 1e9).toFixed(1)} GFLOP/s` : unit === 'elements' ? `${((s / amount) * 1e9).toFixed(2)} ns each` : `${Math.round(1 / s)} /s`;
console.log(`node ${process.version}, ${wasm}`);
console.log(`${'graph'.padEnd(30)} ${'native'.padStart(10)} ${'wasm'.padStart(10)} ${'native'.padStart(16)} ${'wasm'.padStart(16)}  ratio`);
for (const line of run.stdout.trim().split('\n')) {
    const [name, seconds, amount, unit] = line.split('\t'),
        [op, ...rest] = name.split(' '),
        here = (make[op] ?? make.unary)(rest, op),
        there = Number(seconds);
    console.log(
        `${name.padEnd(30)} ${time(there).padStart(10)} ${time(here).padStart(10)} ${speed(there, Number(amount), unit).padStart(16)} ${speed(here, Number(amount), unit).padStart(16)}  ${(here / there).toFixed(2)}`,
    );
}
