/* Graphs that are built and run natively (test/engine_numbers.c), in Node and in a browser, to the same bytes. Small where one
 * thread does the work, and some large enough that the native kernels share theirs among threads. */
const F32 = 0,
    F64 = 1,
    I32 = 2,
    BOOL = 5;
export const names = ['f32', 'f64', 'i32', 'bf16', 'f16', 'bool'];

class Case {
    constructor(name, { runs = 1, seed = 1 } = {}) {
        this.name = name;
        this.runs = runs;
        this.seed = seed;
        this.values = [];
        this.fetch = [];
        this.n = 0;
    }
    add(value) {
        this.values.push(value);
        return value.name;
    }
    input(shape, { dtype = F32, low = -2, high = 2 } = {}) {
        return this.add({ name: `in${this.n++}`, op: 'input', dtype, shape, feed: { low, high } });
    }
    constant(shape, { dtype = F32, low = -2, high = 2 } = {}) {
        return this.add({ name: `const${this.n++}`, op: 'const', dtype, shape, feed: { low, high } });
    }
    variable(shape, { dtype = F32, init = [1, 0, 0.4] } = {}) {
        return this.add({ name: `var${this.n++}`, op: 'variable', dtype, shape, init });
    }
    op(op, ins = [], numbers = []) {
        return this.add({ name: `${op}${this.n++}`, op, in: ins, with: numbers });
    }
    grad(y, x) {
        return this.add({ name: `d${this.n++}_${x}`, op: 'grad', in: [y, x] });
    }
    get(...values) {
        this.fetch.push(...values);
        return this;
    }
    /* the values, and the gradients of their sum by what may be differentiated */
    all(ys, xs = []) {
        let total = null;
        for (const y of ys) {
            const sum = this.op('sum', [y], [0]);
            total = total ? this.op('add', [total, sum]) : sum;
        }
        return this.get(...ys, ...xs.map((x) => this.grad(total, x)));
    }
}

const unary = ['neg', 'abs', 'sign', 'exp', 'square', 'sin', 'cos', 'erf', 'tanh', 'sigmoid', 'relu', 'gelu', 'gelu_tanh', 'gelu_tanh_slope', 'silu', 'softplus', 'identity', 'stop_gradient', 'zeros_like', 'ones_like'];
const positive = ['log', 'sqrt', 'rsqrt', 'reciprocal'];
const binary = ['add', 'sub', 'mul', 'div', 'maximum', 'minimum'];
const compare = ['equal', 'not_equal', 'less', 'less_equal', 'greater', 'greater_equal'];
const activations = ['tanh', 'sigmoid', 'relu', 'gelu', 'gelu_tanh', 'silu', 'softplus'];

/* A layer's weights in the rows of an optimiser: what they are after a step. */
function update(c, rule, w, dw, rate, step, dtype) {
    const shape = c.values.find((v) => v.name === w).shape;
    const moment = () => c.variable(shape, { dtype, init: [0, 0, 0] });
    if (rule === 'sgd') return c.op('sgd', [w, dw, rate]);
    if (rule === 'momentum') return c.op('momentum', [w, moment(), dw, rate], [0.9]);
    if (rule === 'rmsprop') return c.op('rmsprop', [w, moment(), dw, rate], [0.9, 1e-7]);
    return c.op('adam', [w, moment(), moment(), dw, rate, step], [0.9, 0.999, 1e-7, rule === 'adamw' ? 0.1 : 0]);
}

function mlp(name, { activation, rule, dtype = F32, width = 16, batch = 24, norm = false, runs = 4 }) {
    const c = new Case(name, { runs, seed: 7 });
    const x = c.input([batch, 6], { dtype }),
        y = c.input([batch], { dtype: I32, low: 0, high: 3.999 });
    const w1 = c.variable([width, 6], { dtype }),
        b1 = c.variable([width], { dtype, init: [0, 0.1, 0] }),
        w2 = c.variable([4, width], { dtype, init: [2, -0.3, 0.3] }),
        b2 = c.variable([4], { dtype, init: [0, 0, 0] });
    let h = c.op('linear', [x, w1, b1]);
    const weights = [w1, b1, w2, b2];
    if (norm) {
        const g = c.variable([width], { dtype, init: [0, 1, 0] }),
            o = c.variable([width], { dtype, init: [0, 0, 0] });
        h = c.op('layer_norm', [h, g, o], [1e-5]);
        weights.push(g, o);
    }
    h = c.op(activation, [h]);
    const logits = c.op('linear', [h, w2, b2]),
        loss = c.op('mean', [c.op('cross_entropy', [logits, y])], [0]);
    const rate = c.op('full', [], [dtype, 0.05]),
        count = c.variable([], { dtype, init: [0, 0, 0] }),
        step = c.op('assign', [count, c.op('add_scalar', [count], [1])]);
    const grads = weights.map((w) => c.grad(loss, w));
    return c.get(loss, logits, ...grads, ...weights.map((w, i) => update(c, rule, w, grads[i], rate, step, dtype)), step);
}

export function cases() {
    const all = [];
    const make = (name, build, options) => {
        const c = new Case(name, options);
        all.push(build(c) ?? c);
    };

    for (const [label, dtype] of [['f32', F32], ['f64', F64]]) {
        for (const op of unary)
            make(`${op} ${label}`, (c) => {
                const x = c.input([37, 29], { dtype, low: -8, high: 8 });
                return c.all([c.op(op, [x])], [x]);
            });
        for (const op of positive)
            make(`${op} ${label}`, (c) => {
                const x = c.input([37, 29], { dtype, low: 0.001, high: 50 });
                return c.all([c.op(op, [x])], [x]);
            });
        make(`two inputs ${label}`, (c) => {
            const a = c.input([9, 1, 17], { dtype }),
                b = c.input([5, 17], { dtype, low: 0.1, high: 3 });
            return c.all([...binary.map((op) => c.op(op, [a, b])), c.op('pow', [c.op('abs', [a]), b]), c.op('pow_scalar', [b], [1.7]), c.op('mul_scalar', [a], [0.3]), c.op('clamp', [a], [-1, 1])], [a, b]);
        });
        make(`comparisons ${label}`, (c) => {
            const a = c.input([11, 3], { dtype }),
                b = c.input([3], { dtype });
            const bits = compare.map((op) => c.op(op, [a, b]));
            return c.get(...bits, c.op('and', bits.slice(2, 4)), c.op('or', bits.slice(4, 6)), c.op('not', [bits[0]]), c.op('where', [bits[3], a, b]));
        });
        make(`reductions ${label}`, (c) => {
            const x = c.input([13, 7, 19], { dtype });
            const ys = ['sum', 'mean', 'max', 'min'].flatMap((op) => [c.op(op, [x], [0, 1]), c.op(op, [x], [1, 0, 2]), c.op(op, [x], [0, -1]), c.op(op, [x], [0])]);
            ys.push(c.op('logsumexp', [x], [1, 0]), c.op('logsumexp', [x], [-1, 1]), c.op('cumsum', [x], [0]), c.op('cumsum_reverse', [x], [2]), c.op('sum_to', [x], [7, 1]));
            return c.all(ys, [x]).get(c.op('argmax', [x], [1]), c.op('top_k', [x], [4]));
        });
        make(`softmax ${label}`, (c) => {
            const x = c.input([6, 41, 5], { dtype, low: -9, high: 9 }),
                w = c.constant([6, 41, 5], { dtype });
            const ys = [-1, 1].flatMap((axis) => ['softmax', 'log_softmax'].map((op) => c.op('mul', [w, c.op(op, [x], [axis])])));
            return c.all(ys, [x]);
        });
        make(`normalisation ${label}`, (c) => {
            const x = c.input([10, 33], { dtype }),
                w = c.variable([33], { dtype }),
                b = c.variable([33], { dtype });
            const im = c.input([4, 6, 5, 5], { dtype }),
                v = c.variable([6], { dtype }),
                u = c.variable([6], { dtype }),
                m = c.constant([6], { dtype }),
                s = c.constant([6], { dtype, low: 0.5, high: 2 });
            const ys = [c.op('layer_norm', [x, w, b], [1e-5]), c.op('rms_norm', [x], [1e-6]), c.op('batch_norm', [im, v, u], [1e-5]), c.op('batch_norm_given', [im, m, s, v, u], [1e-5]), c.op('group_norm', [im, v, u], [3, 1e-5])];
            const scale = c.constant([10, 33], { dtype });
            ys[0] = c.op('mul', [ys[0], scale]);
            ys[1] = c.op('mul', [ys[1], scale]);
            ys[2] = c.op('square', [ys[2]]);
            return c.all(ys, [x, w, b, im, v, u]);
        });
        make(`products ${label}`, (c) => {
            const ys = [],
                xs = [];
            for (const [m, k, n] of [[1, 70, 50], [3, 300, 17], [33, 65, 129], [64, 7, 1]])
                for (const [ta, tb] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
                    const a = c.input(ta ? [k, m] : [m, k], { dtype }),
                        b = c.input(tb ? [n, k] : [k, n], { dtype });
                    ys.push(c.op('matmul', [a, b], [ta, tb]));
                    xs.push(a, b);
                }
            const a = c.input([5, 2, 9, 8], { dtype }),
                b = c.input([2, 8, 11], { dtype });
            ys.push(c.op('matmul', [a, b]));
            return c.all(ys, [...xs, a, b]);
        });
        make(`attention ${label}`, (c) => {
            const [B, H, T, K] = [2, 3, 21, 8];
            const q = c.input([B, T, H, K], { dtype }),
                k = c.input([B, T, H, K], { dtype }),
                v = c.input([B, T, H, K], { dtype }),
                at = c.input([B, T], { dtype: I32, low: 0, high: 500 }),
                f = c.constant([K / 2], { dtype, low: 0.001, high: 1 });
            const turn = (x) => c.op('transpose', [c.op('rope', [x, at, f], [0])], [0, 2, 1, 3]);
            const scores = c.op('mul_scalar', [c.op('matmul', [turn(q), turn(k)], [0, 1])], [K ** -0.5]);
            const mask = c.op('causal_mask', [], [T, T]),
                low = c.op('full', [], [dtype, -1e30]),
                masked = c.op('where', [mask, scores, low]),
                pattern = c.op('softmax', [masked], [-1]);
            const z = c.op('matmul', [pattern, c.op('transpose', [v], [0, 2, 1, 3])]),
                out = c.op('reshape', [c.op('transpose', [z], [0, 2, 1, 3])], [B, T, H * K]);
            const other = c.op('rope', [q, at, f], [1]);
            return c.all([pattern, c.op('square', [out]), other], [q, k, v]);
        });
        make(`images ${label}`, (c) => {
            const x = c.input([2, 4, 13, 11], { dtype }),
                w = c.variable([6, 4, 3, 3], { dtype }),
                b = c.variable([6], { dtype }),
                d = c.variable([4, 1, 3, 3], { dtype });
            const y = c.op('conv2d', [x, w, b], [2, 2, 1, 1, 1, 1, 1, 1, 1]);
            const ys = [y, c.op('conv2d', [x, d], [1, 1, 0, 0, 0, 0, 2, 2, 4]), c.op('conv2d_transpose', [y, w], [2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 1]), c.op('max_pool2d', [x], [3, 3, 2, 2]), c.op('avg_pool2d', [x], [2, 2, 2, 2, 1, 1, 1, 1, 0]), c.op('global_avg_pool2d', [x]), ...[0, 1, 2, 3].map((how) => c.op('resize2d', [x], [17, 7, how]))];
            return c.all(ys.map((v) => c.op('square', [v])), [x, w, b, d]);
        });
        make(`moving ${label}`, (c) => {
            const x = c.input([4, 9, 6], { dtype }),
                table = c.variable([12, 5], { dtype }),
                ids = c.input([3, 4], { dtype: I32, low: 0, high: 11.99 }),
                index = c.input([4, 2, 6], { dtype: I32, low: 0, high: 8.99 }),
                rows = c.input([3, 4, 5], { dtype }),
                weights = c.input([3, 4], { dtype }),
                vectors = c.input([3, 5], { dtype }),
                lengths = c.input([3], { dtype: I32, low: 0, high: 8 });
            const picked = c.op('take_along', [x, index], [1]);
            const ys = [c.op('embed', [table, ids]), c.op('scatter_add', [ids, rows], [12]), c.op('rows_sum', [table, ids, weights]), c.op('rows_dot', [table, ids, vectors]), c.op('rows_outer', [ids, weights, vectors], [12]), picked, c.op('put_along', [index, c.op('square', [picked])], [1, 9]), c.op('slice', [x], [1, 1, 9, 2]), c.op('pad', [x], [2, 1, 2, 1, 0.5]), c.op('repeat', [x], [0, 2]), c.op('concat', [x, c.op('square', [x])], [1]), c.op('swap_axes', [x], [0, 2]), c.op('squeeze', [c.op('expand', [x], [1])], [1]), c.op('broadcast', [c.op('slice', [x], [0, 0, 1])], [4, 9, 6])];
            return c.all(ys.map((v) => c.op('square', [v])), [x, table, rows]).get(c.op('one_hot', [ids], [12, dtype]), c.op('length_mask', [lengths], [9]), c.op('iota', [], [dtype, 7]), c.op('extent', [], [dtype, 24]), c.op('cast', [x], [I32]), c.op('cast', [x], [3]), c.op('cast', [x], [4]), c.op('cast', [x], [BOOL]), c.op('cast', [x], [dtype === F32 ? F64 : F32]));
        });
        make(`random ${label}`, (c) => {
            const step = c.input([], { dtype: I32, low: 0, high: 1e6 }),
                from = [77, 5, 3, 0],
                rows = [77, 5, 3, 1],
                x = c.input([7, 9], { dtype });
            return c.get(c.op('random_uniform', [step], [...from, dtype, 50, 3]), c.op('random_normal', [step], [...from, dtype, 400, 3]), c.op('random_normal', [step], [...rows, dtype, 5, 7]), c.op('random_bernoulli', [step], [...from, 0.3, 90]), c.op('dropout', [x, step], [...from, 0.4]), c.variable([300], { dtype, init: [1, 0.5, 2] }), c.variable([300], { dtype, init: [2, -1, 1] }));
        }, { runs: 3, seed: 123456789 });
        for (const rule of ['sgd', 'momentum', 'rmsprop', 'adam', 'adamw'])
            all.push(mlp(`train ${rule} ${label}`, { activation: 'tanh', rule, dtype, norm: true, runs: 6 }));
        make(`cache ${label}`, (c) => {
            const cache = c.variable([5, 6], { dtype, init: [0, 0, 0] }),
                x = c.input([2, 6], { dtype });
            return c.get(c.op('assign_slice', [cache, x], [0, 3]));
        }, { runs: 2 });
        /* These reach the threads' threshold. */
        make(`large ${label}`, (c) => {
            const a = c.input([150, 310], { dtype }),
                b = c.input([310, 170], { dtype }),
                big = c.input([60000], { dtype, low: -6, high: 6 });
            const p = c.op('matmul', [a, b]);
            const ys = [p, ...['tanh', 'exp', 'erf', 'gelu', 'silu'].map((op) => c.op(op, [big])), c.op('softmax', [p], [1]), c.op('layer_norm', [p], [1e-5]), c.op('sum', [p], [0, 0]), c.op('sum', [p], [0, 1]), c.op('mean', [big], [0]), c.op('cumsum', [p], [0])];
            return c.all(ys.map((v) => c.op('square', [v])), [a, b, big]);
        });
        all.push(mlp(`large mlp ${label}`, { activation: 'gelu', rule: 'adam', dtype, width: 256, batch: 300, norm: true, runs: 2 }));
    }
    for (const activation of activations) all.push(mlp(`mlp ${activation}`, { activation, rule: 'adam' }));
    make('whole numbers', (c) => {
        const a = c.input([40], { dtype: I32, low: -50, high: 50 }),
            b = c.input([40], { dtype: I32, low: 1, high: 9 });
        return c.get(...['add', 'sub', 'mul', 'div', 'maximum', 'minimum', 'less', 'equal'].map((op) => c.op(op, [a, b])), c.op('sum', [a], [0]), c.op('max', [a], [0]));
    });
    make('second derivatives', (c) => {
        const x = c.input([5, 4]),
            w = c.variable([3, 4]);
        const y = c.op('sum', [c.op('tanh', [c.op('linear', [x, w])])], [0]);
        const dx = c.grad(y, x);
        return c.get(dx, c.grad(c.op('sum', [c.op('square', [dx])], [0]), w));
    });
    return all;
}

export const asJson = (list) => JSON.stringify({ cases: list.map(({ n, ...c }) => c) });
