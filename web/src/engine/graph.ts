/* Networks in the page: a graph of named values, and the four verbs on them.
 *
 *     const g = new Graph(engine);
 *     const x = g.input('x', ['batch', 2]);
 *     const w = g.variable('w', [3, 2], { normal: 0.5 });
 *     const h = g.name(x.linear(w).tanh(), 'hidden');
 *     const loss = h.square().mean();
 *     const [dw] = g.grad(loss, [w]);                       // differentiate: the gradient is graph again
 *     const s = g.session({ seed: 1 });
 *     const { value } = s.run({ x: [[1, 2], [3, 4]] }, { value: loss });   // feed and fetch
 *
 * Any value can be fetched or fed by itself or by its name, g.replace splices. The kernels are the library's reference kernels in one
 * order, so that the numbers are those of the native reference backend, byte for byte. A builder that fails throws, and what it
 * was building cannot be used after. free() gives memory back; values live as long as their graph. */
import { Engine, EngineError, type Pointer } from './wasm';

export type DType = 'f32' | 'f64' | 'i32' | 'bf16' | 'f16' | 'bool';
const DTYPES: DType[] = ['f32', 'f64', 'i32', 'bf16', 'f16', 'bool']; /* in the order of sg_dtype */

export type Numbers = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array;
/** Numbers with a shape; bf16 and f16 are their bits. */
export interface Tensor {
    dtype: DType;
    shape: number[];
    data: Numbers;
}
export type Nested = number | boolean | Nested[];
export type Feed = Tensor | Numbers | Nested;

/** An extent: a number, a symbol's name, or what Graph.extent made of them. */
export type Extent = number | string | Symbolic;
export class Symbolic {
    readonly code: number;
    constructor(code: number) {
        this.code = code;
    }
}

export type Init = number | { normal: number; mean?: number } | { uniform: [number, number] };

function arrayFor(dtype: DType, n: number): Numbers {
    switch (dtype) {
        case 'f32':
            return new Float32Array(n);
        case 'f64':
            return new Float64Array(n);
        case 'i32':
            return new Int32Array(n);
        case 'bool':
            return new Uint8Array(n);
        default:
            return new Uint16Array(n);
    }
}

function fits(dtype: DType, data: Numbers): boolean {
    return data.constructor === arrayFor(dtype, 0).constructor;
}

/** Numbers in nested lists as a tensor; all lists of a level have one length. */
export function tensor(from: Nested, dtype: DType = 'f32'): Tensor {
    const shape: number[] = [];
    for (let at = from; Array.isArray(at); at = at[0] as Nested) shape.push(at.length);
    const data = arrayFor(dtype, shape.reduce((a, b) => a * b, 1));
    let n = 0;
    const fill = (part: Nested, level: number): void => {
        if (!Array.isArray(part)) {
            if (level !== shape.length) throw new EngineError('nested lists of numbers have to be as deep everywhere', 5);
            data[n++] = Number(part);
            return;
        }
        if (part.length !== shape[level]) throw new EngineError(`a list of ${part.length} numbers beside lists of ${shape[level]}`, 5);
        for (const next of part) fill(next, level + 1);
    };
    fill(from, 0);
    return { dtype, shape, data };
}

/** Options of convolutions: pairs are (down, across), a number is both. */
export interface ConvOptions {
    stride?: number | [number, number];
    padding?: number | [number, number];
    dilation?: number | [number, number];
    groups?: number;
    outputPadding?: number | [number, number];
}
export interface PoolOptions {
    kernel: number | [number, number];
    stride?: number | [number, number];
    padding?: number | [number, number];
    countPadding?: boolean;
}
/** Where random numbers come from: the same origin and step give the same numbers everywhere. */
export interface Origin {
    seed: number | bigint;
    stream?: number;
    rowStreams?: boolean;
}

const pair = (x: number | [number, number] | undefined, otherwise: number): [number, number] =>
    x === undefined ? [otherwise, otherwise] : typeof x === 'number' ? [x, x] : x;

function halves(seed: number | bigint): [number, number] {
    const s = BigInt.asUintN(64, BigInt(seed));
    return [Number(s & 0xffffffffn), Number(s >> 32n)];
}

const origin = (o: Origin): number[] => [...halves(o.seed), o.stream ?? 0, o.rowStreams ? 1 : 0];
const type = (d: DType): number => DTYPES.indexOf(d);
const convNumbers = (o: ConvOptions): number[] => {
    const p = pair(o.padding, 0);
    return [...pair(o.stride, 1), ...p, ...p, ...pair(o.dilation, 1), o.groups ?? 1, ...pair(o.outputPadding, 0)];
};
const poolNumbers = (o: PoolOptions): number[] => {
    const k = pair(o.kernel, 1),
        p = pair(o.padding, 0);
    return [...k, ...(o.stride === undefined ? k : pair(o.stride, 1)), ...p, ...p, (o.countPadding ?? true) ? 1 : 0];
};

/** One value of a graph. Its methods build more of the graph; a number stands for a scalar of this value's type. */
export class Value {
    readonly graph: Graph;
    readonly pointer: Pointer;

    constructor(graph: Graph, pointer: Pointer) {
        this.graph = graph;
        this.pointer = pointer;
    }

    private info(): number[] {
        const e = this.graph.engine,
            p = e.call('value_shape', this.pointer);
        return Array.from(e.f64(p, 11));
    }

    get dtype(): DType {
        return DTYPES[this.info()[0]];
    }
    get isVariable(): boolean {
        return this.info()[1] !== 0;
    }
    /** Extents; a symbolic one is negative. */
    get dims(): number[] {
        const info = this.info();
        return info.slice(3, 3 + info[2]);
    }
    get shapeText(): string {
        return this.graph.engine.text(this.graph.engine.call('value_shape_text', this.pointer));
    }
    get name(): string {
        return this.graph.engine.text(this.graph.engine.call('value_name', this.pointer));
    }
    get op(): string {
        return this.graph.engine.text(this.graph.engine.call('value_op', this.pointer));
    }

    private unary(op: string, ...numbers: number[]): Value {
        return this.graph.op(op, [this], numbers);
    }
    private binary(op: string, other: Value | number): Value {
        return this.graph.op(op, [this, typeof other === 'number' ? this.graph.scalar(other, this.dtype) : other]);
    }
    private reduce(op: string, axes: number | number[] | undefined, keep: boolean): Value {
        return this.unary(op, keep ? 1 : 0, ...(axes === undefined ? [] : typeof axes === 'number' ? [axes] : axes));
    }

    neg(): Value {
        return this.unary('neg');
    }
    abs(): Value {
        return this.unary('abs');
    }
    sign(): Value {
        return this.unary('sign');
    }
    exp(): Value {
        return this.unary('exp');
    }
    log(): Value {
        return this.unary('log');
    }
    sqrt(): Value {
        return this.unary('sqrt');
    }
    rsqrt(): Value {
        return this.unary('rsqrt');
    }
    reciprocal(): Value {
        return this.unary('reciprocal');
    }
    square(): Value {
        return this.unary('square');
    }
    sin(): Value {
        return this.unary('sin');
    }
    cos(): Value {
        return this.unary('cos');
    }
    erf(): Value {
        return this.unary('erf');
    }
    tanh(): Value {
        return this.unary('tanh');
    }
    sigmoid(): Value {
        return this.unary('sigmoid');
    }
    relu(): Value {
        return this.unary('relu');
    }
    gelu(): Value {
        return this.unary('gelu');
    }
    geluTanh(): Value {
        return this.unary('gelu_tanh');
    }
    silu(): Value {
        return this.unary('silu');
    }
    softplus(): Value {
        return this.unary('softplus');
    }
    identity(): Value {
        return this.unary('identity');
    }
    stopGradient(): Value {
        return this.unary('stop_gradient');
    }
    not(): Value {
        return this.unary('not');
    }
    cast(to: DType): Value {
        return this.unary('cast', type(to));
    }
    clamp(low: number, high: number): Value {
        return this.unary('clamp', low, high);
    }
    zerosLike(): Value {
        return this.unary('zeros_like');
    }
    onesLike(): Value {
        return this.unary('ones_like');
    }

    add(b: Value | number): Value {
        return this.binary('add', b);
    }
    sub(b: Value | number): Value {
        return this.binary('sub', b);
    }
    mul(b: Value | number): Value {
        return this.binary('mul', b);
    }
    div(b: Value | number): Value {
        return this.binary('div', b);
    }
    pow(b: Value | number): Value {
        return (typeof b === 'number' ? this.unary('pow_scalar', b) : this.binary('pow', b));
    }
    maximum(b: Value | number): Value {
        return this.binary('maximum', b);
    }
    minimum(b: Value | number): Value {
        return this.binary('minimum', b);
    }
    equal(b: Value | number): Value {
        return this.binary('equal', b);
    }
    notEqual(b: Value | number): Value {
        return this.binary('not_equal', b);
    }
    less(b: Value | number): Value {
        return this.binary('less', b);
    }
    lessEqual(b: Value | number): Value {
        return this.binary('less_equal', b);
    }
    greater(b: Value | number): Value {
        return this.binary('greater', b);
    }
    greaterEqual(b: Value | number): Value {
        return this.binary('greater_equal', b);
    }
    and(b: Value): Value {
        return this.binary('and', b);
    }
    or(b: Value): Value {
        return this.binary('or', b);
    }

    /** Over the axes given, or all. keep: they stay, with extent 1. */
    sum(axes?: number | number[], keep = false): Value {
        return this.reduce('sum', axes, keep);
    }
    mean(axes?: number | number[], keep = false): Value {
        return this.reduce('mean', axes, keep);
    }
    max(axes?: number | number[], keep = false): Value {
        return this.reduce('max', axes, keep);
    }
    min(axes?: number | number[], keep = false): Value {
        return this.reduce('min', axes, keep);
    }
    argmax(axis: number, keep = false): Value {
        return this.unary('argmax', axis, keep ? 1 : 0);
    }
    logsumexp(axis: number, keep = false): Value {
        return this.unary('logsumexp', axis, keep ? 1 : 0);
    }
    softmax(axis = -1): Value {
        return this.unary('softmax', axis);
    }
    logSoftmax(axis = -1): Value {
        return this.unary('log_softmax', axis);
    }
    cumsum(axis: number): Value {
        return this.unary('cumsum', axis);
    }
    topK(k: number): Value {
        return this.unary('top_k', k);
    }

    /** [...,M,K] by [...,K,N]; either may come transposed. */
    matmul(b: Value, transA = false, transB = false): Value {
        return this.graph.op('matmul', [this, b], [transA ? 1 : 0, transB ? 1 : 0]);
    }
    /** this [...,D], w [F,D], b [F] -> [...,F] */
    linear(w: Value, b?: Value): Value {
        return this.graph.op('linear', b ? [this, w, b] : [this, w]);
    }
    /** Over the last axis; gain and offset both or neither. */
    layerNorm(w?: Value, b?: Value, eps = 1e-5): Value {
        return this.graph.op('layer_norm', w && b ? [this, w, b] : [this], [eps]);
    }
    rmsNorm(eps = 1e-5): Value {
        return this.unary('rms_norm', eps);
    }
    batchNorm(w: Value, b: Value, eps = 1e-5): Value {
        return this.graph.op('batch_norm', [this, w, b], [eps]);
    }
    groupNorm(groups: number, w: Value, b: Value, eps = 1e-5): Value {
        return this.graph.op('group_norm', [this, w, b], [groups, eps]);
    }
    /** Nats per position; targets are i32 class numbers. */
    crossEntropy(targets: Value): Value {
        return this.graph.op('cross_entropy', [this, targets]);
    }
    /** Rows of this table [V,D] at ids. */
    embed(ids: Value): Value {
        return this.graph.op('embed', [this, ids]);
    }
    oneHot(n: number, dtype: DType = 'f32'): Value {
        return this.unary('one_hot', n, type(dtype));
    }
    takeAlong(index: Value, axis: number): Value {
        return this.graph.op('take_along', [this, index], [axis]);
    }

    /** Images [B,C,H,W] by kernels [O,C/groups,KH,KW]. */
    conv2d(w: Value, b?: Value, o: ConvOptions = {}): Value {
        return this.graph.op('conv2d', b ? [this, w, b] : [this, w], convNumbers(o));
    }
    conv2dTranspose(w: Value, b?: Value, o: ConvOptions = {}): Value {
        return this.graph.op('conv2d_transpose', b ? [this, w, b] : [this, w], convNumbers(o));
    }
    maxPool2d(o: PoolOptions): Value {
        return this.unary('max_pool2d', ...poolNumbers(o));
    }
    avgPool2d(o: PoolOptions): Value {
        return this.unary('avg_pool2d', ...poolNumbers(o));
    }

    reshape(shape: Extent[]): Value {
        return this.unary('reshape', ...this.graph.codes(shape));
    }
    broadcast(shape: Extent[]): Value {
        return this.unary('broadcast', ...this.graph.codes(shape));
    }
    transpose(perm: number[]): Value {
        return this.unary('transpose', ...perm);
    }
    swapAxes(a: number, b: number): Value {
        return this.unary('swap_axes', a, b);
    }
    expand(axis: number): Value {
        return this.unary('expand', axis);
    }
    squeeze(axis: number): Value {
        return this.unary('squeeze', axis);
    }
    slice(axis: number, start: Extent, stop: Extent, step = 1): Value {
        return this.unary('slice', axis, ...this.graph.codes([start, stop]), step);
    }
    pad(axis: number, before: number, after: number, fill = 0): Value {
        return this.unary('pad', axis, before, after, 0, fill);
    }

    /** 0 with probability p, else scaled up: for training. step is an i32 scalar. */
    dropout(p: number, from: Origin, step: Value): Value {
        return this.graph.op('dropout', [this, step], [...origin(from), p]);
    }
    /** This variable after x was stored in it; fetch it to have that done. */
    assign(x: Value): Value {
        return this.graph.op('assign', [this, x]);
    }
}

export interface TrainOptions {
    rule?: 'sgd' | 'momentum' | 'rmsprop' | 'adam';
    /** A number, or a scalar value, such as an input, that may change from step to step. */
    rate: number | Value;
    momentum?: number; /* 0.9 */
    rho?: number; /* 0.9, of rmsprop */
    beta1?: number; /* 0.9 */
    beta2?: number; /* 0.999 */
    eps?: number; /* 1e-7 */
    weightDecay?: number; /* 0, decoupled */
    /** adam: the powers of the betas are kept as f32 and multiplied once a step, as TensorFlow.js does, whose first steps differ by some
     * 1e-5 of themselves from those with exact powers (false). */
    runningPowers?: boolean;
}

export class Graph {
    readonly engine: Engine;
    readonly pointer: Pointer;
    private readonly sessions = new Set<Session>();
    private readonly forks = new Set<Graph>();
    private freed = false;

    constructor(engine: Engine, pointer?: Pointer) {
        this.engine = engine;
        this.pointer = pointer ?? engine.pointer(engine.call('graph_new'));
    }

    /** Gives the memory back, that of its sessions and forks too. */
    free(): void {
        if (this.freed) return;
        this.freed = true;
        for (const s of [...this.sessions]) s.free();
        for (const f of this.forks) f.free();
        this.engine.call('graph_free', this.pointer);
    }

    /** A copy to which more can be added, and in which values can be replaced, without touching this one. */
    fork(): Graph {
        const g = new Graph(this.engine, this.engine.pointer(this.engine.call('graph_fork', this.pointer)));
        this.forks.add(g);
        return g;
    }

    /** A fork's copy of a value, or the original of a fork's value. */
    same(v: Value): Value {
        const p = this.engine.call('graph_same', this.pointer, v.pointer);
        if (p === 0) throw new EngineError(`the graph has no value like ${v.name}`, 2);
        return new Value(this, p);
    }

    /* ---- extents ---- */

    extent(symbol: string): Symbolic {
        return new Symbolic(this.engine.withText(symbol, (p) => this.engine.call('graph_extent', this.pointer, p)));
    }
    extentSum(a: Extent, b: Extent): Symbolic {
        return this.extentOf(0, a, b);
    }
    extentDifference(a: Extent, b: Extent): Symbolic {
        return this.extentOf(1, a, b);
    }
    extentProduct(a: Extent, b: Extent): Symbolic {
        return this.extentOf(2, a, b);
    }
    private extentOf(how: number, a: Extent, b: Extent): Symbolic {
        const [x, y] = this.codes([a, b]);
        return new Symbolic(this.engine.call('graph_extent_of', this.pointer, how, x, y));
    }
    codes(extents: Extent[]): number[] {
        return extents.map((e) => (typeof e === 'number' ? e : typeof e === 'string' ? this.extent(e).code : e.code));
    }

    /* ---- leaves ---- */

    private made(p: Pointer): Value {
        return new Value(this, this.engine.pointer(p));
    }
    private withNumbers<T>(numbers: number[], use: (p: Pointer, n: number) => T): T {
        return this.engine.with(new Float64Array(numbers), (p) => use(p, numbers.length));
    }

    /** A value that every run feeds. */
    input(name: string, shape: Extent[], dtype: DType = 'f32'): Value {
        return this.engine.withText(name, (text) =>
            this.withNumbers(this.codes(shape), (p, n) => this.made(this.engine.call('graph_input', this.pointer, text, type(dtype), n, p))),
        );
    }

    /** Numbers that outlive a run, such as weights. init: a constant, normal or uniform. */
    variable(name: string, shape: number[], init: Init = 0, dtype: DType = 'f32'): Value {
        const [kind, a, b] =
            typeof init === 'number' ? [0, init, 0] : 'normal' in init ? [1, init.mean ?? 0, init.normal] : [2, init.uniform[0], init.uniform[1]];
        return this.engine.withText(name, (text) =>
            this.withNumbers(shape, (p, n) =>
                this.made(this.engine.call('graph_variable', this.pointer, text, type(dtype), n, p, kind, a, b)),
            ),
        );
    }

    constant(from: Nested | Tensor, dtype: DType = 'f32'): Value {
        const t = typeof from === 'object' && 'data' in from ? from : tensor(from, dtype);
        return this.engine.with(t.data, (data) =>
            this.withNumbers(t.shape, (p, n) => this.made(this.engine.call('graph_const', this.pointer, type(t.dtype), n, p, data))),
        );
    }

    scalar(x: number, dtype: DType = 'f32'): Value {
        return this.op('full', [], [type(dtype), x]);
    }
    full(shape: Extent[], x: number, dtype: DType = 'f32'): Value {
        return this.op('full', [], [type(dtype), x, ...this.codes(shape)]);
    }
    iota(n: Extent, dtype: DType = 'f32'): Value {
        return this.op('iota', [], [type(dtype), ...this.codes([n])]);
    }
    /** An extent as a scalar. */
    extentValue(extent: Extent, dtype: DType = 'f32'): Value {
        return this.op('extent', [], [type(dtype), ...this.codes([extent])]);
    }
    /** Philox numbers; another step (an i32 scalar) gives others. */
    randomUniform(shape: Extent[], from: Origin, step: Value, dtype: DType = 'f32'): Value {
        return this.op('random_uniform', [step], [...origin(from), type(dtype), ...this.codes(shape)]);
    }
    randomNormal(shape: Extent[], from: Origin, step: Value, dtype: DType = 'f32'): Value {
        return this.op('random_normal', [step], [...origin(from), type(dtype), ...this.codes(shape)]);
    }
    where(condition: Value, a: Value, b: Value): Value {
        return this.op('where', [condition, a, b]);
    }
    concat(values: Value[], axis: number): Value {
        return this.op('concat', values, [axis]);
    }
    causalMask(queries: Extent, keys: Extent): Value {
        return this.op('causal_mask', [], this.codes([queries, keys]));
    }

    /** Any operation by its name, with its values and its numbers in the order of web/engine/builders.def. */
    op(name: string, values: Value[], numbers: number[] = []): Value {
        const e = this.engine;
        return e.withText(name, (text) =>
            e.with(new Uint32Array(values.map((v) => v.pointer)), (xs) =>
                this.withNumbers(numbers, (as, n) => this.made(e.call('graph_op', this.pointer, text, values.length, xs, n, as))),
            ),
        );
    }

    /** The names op() takes. */
    operations(): string[] {
        const names: string[] = [];
        for (let i = 0, p; (p = this.engine.call('graph_builder', i)) !== 0; i++) names.push(this.engine.text(p));
        return names;
    }

    /* ---- names, splices, gradients ---- */

    /** Names a value, so that it can be fetched, fed and replaced by that. axes: a letter for each, as edits have them. */
    name(v: Value, name: string, axes = ''): Value {
        const e = this.engine;
        return e.withText(name, (n) => e.withText(axes, (a) => this.made(e.call('graph_name', this.pointer, v.pointer, n, a))));
    }

    find(name: string): Value {
        return this.engine.withText(name, (p) => this.made(this.engine.call('graph_find', this.pointer, p)));
    }

    names(): string[] {
        const e = this.engine,
            n = e.call('graph_n_names', this.pointer);
        return Array.from({ length: n }, (_, i) => e.text(e.call('value_name', e.call('graph_named', this.pointer, i))));
    }

    /** Whoever reads v reads `by` instead, except what `by` is computed from. */
    replace(v: Value, by: Value): void {
        this.engine.check(this.engine.call('graph_replace', this.pointer, v.pointer, by.pointer));
    }

    /** Gradients of y by each of xs, of their shapes; for a y that is no scalar weighed by dy, or summed. */
    grad(y: Value, xs: Value[], dy?: Value): Value[] {
        const e = this.engine;
        return e.with(new Uint32Array(xs.map((x) => x.pointer)), (p) =>
            e.with(new Uint32Array(xs.length), (out) => {
                e.check(e.call('graph_gradients', this.pointer, y.pointer, dy?.pointer ?? 0, xs.length, p, out));
                return Array.from(e.window('u32', out, xs.length), (v) => new Value(this, v));
            }),
        );
    }

    /** How y moves where x moves along v. */
    jvp(y: Value, x: Value, v: Value): Value {
        return this.made(this.engine.call('graph_jvp', this.pointer, y.pointer, x.pointer, v.pointer));
    }

    /** What a training step has to fetch beside its loss: each parameter after it. Moments are variables beside the parameter
     * (adam.m.NAME), the count of steps is the variable adam.step. */
    train(loss: Value, params: Value[], o: TrainOptions): Value[] {
        const rule = o.rule ?? 'sgd',
            grads = this.grad(loss, params),
            rates = new Map<DType, Value>();
        const rateFor = (p: Value): Value => {
            if (typeof o.rate !== 'number') return o.rate;
            let r = rates.get(p.dtype);
            if (!r) rates.set(p.dtype, (r = this.scalar(o.rate, p.dtype)));
            return r;
        };
        const beside = (what: string, p: Value): Value => this.variable(`${rule}.${what}.${p.name}`, p.dims, 0, p.dtype);
        if (rule === 'sgd') return params.map((p, i) => this.op('sgd', [p, grads[i], rateFor(p)]));
        if (rule === 'momentum')
            return params.map((p, i) => this.op('momentum', [p, beside('m', p), grads[i], rateFor(p)], [o.momentum ?? 0.9]));
        if (rule === 'rmsprop')
            return params.map((p, i) => this.op('rmsprop', [p, beside('v', p), grads[i], rateFor(p)], [o.rho ?? 0.9, o.eps ?? 1e-7]));
        if (o.runningPowers) return this.trainRunning(params, grads, rateFor, o);
        const steps = new Map<DType, Value>();
        const updates = params.map((p, i) => {
            let step = steps.get(p.dtype);
            if (!step) {
                const count = this.variable(p.dtype === 'f32' ? 'adam.step' : `adam.step.${p.dtype}`, [], 0, p.dtype);
                steps.set(p.dtype, (step = count.assign(count.add(1))));
            }
            const numbers = [o.beta1 ?? 0.9, o.beta2 ?? 0.999, o.eps ?? 1e-7, o.weightDecay ?? 0];
            return this.op('adam', [p, beside('m', p), beside('v', p), grads[i], rateFor(p), step], numbers);
        });
        return [...updates, ...steps.values()];
    }

    private trainRunning(params: Value[], grads: Value[], rateFor: (p: Value) => Value, o: TrainOptions): Value[] {
        const betas = [o.beta1 ?? 0.9, o.beta2 ?? 0.999],
            powers = betas.map((b, k) => this.variable(`adam.power${k + 1}`, [], b)),
            rest = powers.map((p) => this.scalar(1).sub(p));
        const updates = params.flatMap((p, i) => {
            const moments = [grads[i], grads[i].square()].map((g, k) => {
                const m = this.variable(`adam.${'mv'[k]}.${p.name}`, p.dims);
                return m.assign(m.mul(betas[k]).add(g.mul(1 - betas[k])));
            });
            const [m, v] = moments.map((x, k) => x.div(rest[k]));
            const by = m.div(v.sqrt().add(o.eps ?? 1e-7)).mul(rateFor(p));
            const decayed = o.weightDecay ? p.sub(p.mul(rateFor(p)).mul(o.weightDecay)) : p;
            return [p.assign(decayed.sub(by)), ...moments];
        });
        return [...updates, ...powers.map((p, k) => p.assign(p.mul(betas[k])))];
    }

    /** Numbers for the variables, and runs. Nothing may be added to the graph after. */
    session(o: SessionOptions = {}): Session {
        const s = new Session(this, o);
        this.sessions.add(s);
        return s;
    }
    forget(s: Session): void {
        this.sessions.delete(s);
    }
}

export interface SessionOptions {
    /** Of the variables' first numbers (0). */
    seed?: number | bigint;
    /** Another session of this graph, or of the one it was forked from, whose variables this one shares. */
    like?: Session;
    /** Computes in one step what nobody looks at between. Off, numbers are the native reference backend's byte for byte; on, where
     * attention is fused, to a tolerance. */
    fuse?: boolean;
    /** Runs fail at the first value that holds a NaN, and name it. */
    guard?: boolean;
}

type Fetch = Value | string;
const CROSSING = 48; /* bytes: value, type, axes, address, eight extents */

export class Session {
    readonly graph: Graph;
    private readonly engine: Engine;
    private readonly state: Pointer;
    private readonly ownsState: boolean;
    private readonly pointer: Pointer;
    private readonly feedBlocks = new Map<Pointer, { at: Pointer; bytes: number }>();
    private block: Pointer = 0;
    private blockBytes = 0;
    private freed = false;

    constructor(graph: Graph, o: SessionOptions) {
        const e = (this.engine = graph.engine);
        this.graph = graph;
        this.ownsState = !o.like;
        this.state = o.like ? o.like.state : e.pointer(e.call('state_new', graph.pointer));
        if (!o.like) e.check(e.call('state_init', this.state, ...halves(o.seed ?? 0)));
        this.pointer = e.pointer(e.call('session_new', graph.pointer, this.state, o.fuse ? 1 : 0));
        if (o.guard) e.call('session_guard', this.pointer, 1);
    }

    free(): void {
        if (this.freed) return;
        this.freed = true;
        this.graph.forget(this);
        for (const b of this.feedBlocks.values()) this.engine.free(b.at);
        this.engine.free(this.block);
        this.engine.call('session_free', this.pointer);
        if (this.ownsState) this.engine.call('state_free', this.state);
    }

    /** Starts all variables again. */
    init(seed: number | bigint): void {
        this.engine.check(this.engine.call('state_init', this.state, ...halves(seed)));
    }

    /** Sets a symbol that no feed's shape tells. most: the value may change up to that without planning anew. */
    extent(symbol: string, value: number, most = 0): void {
        this.engine.withText(symbol, (p) => this.engine.check(this.engine.call('session_extent', this.pointer, p, value, most)));
    }

    private value(v: Fetch): Value {
        return typeof v === 'string' ? this.graph.find(v) : v;
    }

    /* ---- variables ---- */

    private window(v: Value): Numbers {
        const p = this.engine.pointer(this.engine.call('state_data', this.state, v.pointer));
        return this.read(v.dtype, v.dims.reduce((a, b) => a * b, 1), p);
    }

    /** A copy of a variable's numbers. */
    get(variable: Fetch): Tensor {
        const v = this.value(variable);
        return { dtype: v.dtype, shape: v.dims, data: this.window(v).slice() };
    }

    set(variable: Fetch, numbers: Feed): void {
        const v = this.value(variable),
            t = this.shaped(v, numbers);
        if (t.shape.join() !== v.dims.join()) throw new EngineError(`variable ${v.name} is ${v.shapeText}, the numbers are [${t.shape.join()}]`, 5);
        this.window(v).set(t.data);
    }

    /** All variables by name, for a file, and back. Types and shapes have to agree. */
    save(): Map<string, Tensor> {
        return new Map(
            this.graph
                .names()
                .map((n) => this.graph.find(n))
                .filter((v) => v.isVariable)
                .map((v) => [v.name, this.get(v)]),
        );
    }
    load(tensors: ReadonlyMap<string, { dtype: string; shape: number[]; data: ArrayLike<number | bigint> }>): void {
        for (const name of this.graph.names()) {
            const v = this.graph.find(name);
            if (!v.isVariable) continue;
            const t = tensors.get(name);
            if (!t) throw new EngineError(`the file has no tensor ${name}`, 2);
            if (t.dtype !== v.dtype) throw new EngineError(`tensor ${name} is ${t.dtype}, the variable is ${v.dtype}`, 6);
            this.set(v, t as Tensor);
        }
    }

    /* ---- runs ---- */

    private read(dtype: DType, n: number, p: Pointer): Numbers {
        const kind = dtype === 'f32' ? 'f32' : dtype === 'f64' ? 'f64' : dtype === 'i32' ? 'i32' : dtype === 'bool' ? 'u8' : 'u16';
        return this.engine.window(kind, p, n);
    }

    /* Numbers without a shape take the value's, in which one extent may be open. */
    private shaped(v: Value, from: Feed): Tensor {
        if (typeof from === 'object' && 'data' in from) {
            if (from.dtype !== v.dtype) throw new EngineError(`${v.name} wants ${v.dtype}, given ${from.dtype}`, 6);
            return from;
        }
        const dtype = v.dtype;
        if (!ArrayBuffer.isView(from)) return tensor(from, dtype);
        if (!fits(dtype, from)) throw new EngineError(`${v.name} wants ${dtype}, given a ${from.constructor.name}`, 6);
        const dims = v.dims,
            open = dims.filter((d) => d < 0).length,
            known = dims.reduce((a, b) => (b < 0 ? a : a * b), 1);
        if (open > 1) throw new EngineError(`${v.name} is ${v.shapeText}: give its numbers with a shape`, 5);
        const rest = known === 0 ? 0 : from.length / known;
        if (open === 0 ? from.length !== known : !Number.isInteger(rest))
            throw new EngineError(`${v.name} is ${v.shapeText}, given ${from.length} numbers`, 5);
        return { dtype, shape: dims.map((d) => (d < 0 ? rest : d)), data: from };
    }

    private keep(v: Value, data: Numbers): Pointer {
        const e = this.engine;
        let b = this.feedBlocks.get(v.pointer);
        if (!b || b.bytes < data.byteLength) {
            if (b) e.free(b.at);
            b = { at: e.alloc(data.byteLength), bytes: data.byteLength };
            this.feedBlocks.set(v.pointer, b);
        }
        e.bytes(b.at, data.byteLength).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
        return b.at;
    }

    /* Writes what a run is asked, and says how to ask it and where its answers will lie. */
    private prepare(fed: [Value, Feed][], values: Value[]): { ask: () => void; out: Pointer } {
        const e = this.engine,
            bytes = (fed.length + values.length) * CROSSING + values.length * 4;
        if (this.blockBytes < bytes) {
            e.free(this.block);
            this.block = e.alloc(bytes);
            this.blockBytes = bytes;
        }
        const block = this.block,
            out = block + fed.length * CROSSING,
            list = out + values.length * CROSSING;
        fed.forEach(([v, x], i) => {
            const t = this.shaped(v, x),
                n = t.shape.reduce((a, b) => a * b, 1);
            if (t.shape.length > 8) throw new EngineError(`${v.name}: ${t.shape.length} axes`, 5);
            if (n !== t.data.length) throw new EngineError(`${v.name}: ${t.data.length} numbers for the shape [${t.shape.join()}]`, 5);
            const at = this.keep(v, t.data);
            e.i32(block + i * CROSSING, 4 + t.shape.length).set([v.pointer, type(t.dtype), t.shape.length, at, ...t.shape]);
        });
        e.window('u32', list, values.length).set(values.map((v) => v.pointer));
        const run = e.get('session_run');
        return { ask: () => e.check(run(this.pointer, fed.length, block, values.length, list, out)), out };
    }

    private feedsOf(feeds: Record<string, Feed> | ReadonlyMap<Value, Feed>): [Value, Feed][] {
        return feeds instanceof Map ? [...feeds] : Object.entries(feeds).map(([name, x]): [Value, Feed] => [this.graph.find(name), x]);
    }

    private tensorAt(at: Pointer): Tensor {
        const head = this.engine.i32(at, 12),
            dtype = DTYPES[head[1]],
            shape = Array.from(head.subarray(4, 4 + head[2]));
        return { dtype, shape, data: this.read(dtype, shape.reduce((a, b) => a * b, 1), head[3]).slice() };
    }

    /** Feeds, runs, fetches. Only what the fetches need and the feeds do not give is computed. Results are copies.
     * `also`: values to compute whose numbers are not wanted, such as the updates of a training step. */
    run<K extends string>(feeds: Record<string, Feed> | ReadonlyMap<Value, Feed>, fetches: Record<K, Fetch>, also: Value[] = []): Record<K, Tensor> {
        const names = Object.keys(fetches) as K[];
        const { ask, out } = this.prepare(this.feedsOf(feeds), [...names.map((k) => this.value(fetches[k])), ...also]);
        ask();
        return Object.fromEntries(names.map((name, i) => [name, this.tensorAt(out + i * CROSSING)])) as Record<K, Tensor>;
    }

    /** A function that does one run again and again on the same feeds and returns nothing: for many steps on one batch, without what
     * run() copies. Until the session's next run(). */
    repeat(feeds: Record<string, Feed> | ReadonlyMap<Value, Feed>, values: Value[]): () => void {
        return this.prepare(this.feedsOf(feeds), values).ask;
    }

    /** The operations that the last run executed, in order. */
    steps(): string[] {
        const n = this.engine.call('session_n_steps', this.pointer);
        return Array.from({ length: n }, (_, i) => this.engine.text(this.engine.call('session_step', this.pointer, i)));
    }

    /** Bytes of the block that holds the last run's values. */
    get bytes(): number {
        return this.engine.call('session_bytes', this.pointer);
    }
}
