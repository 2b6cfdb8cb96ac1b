/* What test/engine_numbers.c does, on the page's engine; it runs in Node, in a page and in a worker. */
import { EngineError, load } from '../../src/engine/wasm.ts';
import { Graph, tensor } from '../../src/engine/graph.ts';

export { EngineError, Graph, load, tensor };

const names = ['f32', 'f64', 'i32', 'bf16', 'f16', 'bool'];
const arrays = [Float32Array, Float64Array, Int32Array, Uint16Array, Uint16Array, Uint8Array];

function hashOf(data) {
    const p = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    let a = 2166136261,
        b = 0x9747b28c | 0;
    for (const byte of p) {
        a = Math.imul(a ^ byte, 16777619);
        b = Math.imul(b ^ byte, 0x85ebca6b);
        b ^= b >>> 13;
    }
    const hex = (x) => (x >>> 0).toString(16).padStart(8, '0');
    return hex(a) + hex(b);
}

/** One line for each value fetched: case, run, value, type, shape, hash. fuse: whether sessions may fuse. */
export function numbersOf(engine, cases, { fuse = false } = {}) {
    const lines = [];
    for (const c of cases) {
        let state = 12345;
        const next = () => {
            state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
            return state >>> 8;
        };
        const fill = ({ dtype, shape, feed: { low, high } }) => {
            const data = new arrays[dtype](shape.reduce((a, b) => a * b, 1));
            for (let i = 0; i < data.length; i++) {
                const x = low + (high - low) * (next() * 2 ** -24);
                data[i] = dtype < 2 ? x : Math.trunc(x);
            }
            return { dtype: names[dtype], shape, data };
        };
        const g = new Graph(engine),
            values = new Map();
        for (const v of c.values) {
            const ins = (v.in ?? []).map((n) => values.get(n));
            let made;
            if (v.op === 'input') made = g.input(v.name, v.shape, names[v.dtype]);
            else if (v.op === 'const') made = g.constant(fill(v));
            else if (v.op === 'variable') {
                const [kind, a, b] = v.init;
                made = g.variable(v.name, v.shape, kind === 0 ? a : kind === 1 ? { normal: b, mean: a } : { uniform: [a, b] }, names[v.dtype]);
            } else if (v.op === 'grad') [made] = g.grad(ins[0], [ins[1]]);
            else made = g.op(v.op, ins, v.with);
            values.set(v.name, made);
        }
        const s = g.session({ seed: c.seed, fuse });
        for (let run = 0; run < c.runs; run++) {
            const feeds = new Map(c.values.filter((v) => v.op === 'input').map((v) => [values.get(v.name), fill(v)]));
            const got = s.run(feeds, Object.fromEntries(c.fetch.map((n) => [n, values.get(n)])));
            for (const n of c.fetch) {
                const t = got[n];
                lines.push(`${c.name} ${run} ${n} ${t.dtype} [${t.shape.join(',')}] ${hashOf(t.data)}`);
            }
        }
        g.free();
    }
    return lines;
}
