/* The Playground in the page's engine: a face over web/engine/net.c. One Net is one thread's.
 *
 *     const net = Net.create(engine, 'dataset=spiral&seed=0.12345');
 *     net.train(100);
 *     net.loss('train');
 *     net.free();
 *
 * A state is the text of an address; `readState` makes values of it. */

import type { Engine, Pointer } from './wasm';

export const activations = ['relu', 'tanh', 'sigmoid', 'linear'] as const;
export const penalties = ['none', 'L1', 'L2'] as const;
export const datasets = ['circle', 'xor', 'gauss', 'spiral'] as const;
export const regDatasets = ['reg-plane', 'reg-gauss'] as const;
export const problems = ['classification', 'regression'] as const;
export const optimizers = ['sgd', 'momentum', 'adam'] as const;
/** In the order in which the net has them. */
export const inputNames = ['x', 'y', 'xSquared', 'ySquared', 'xTimesY', 'sinX', 'sinY'] as const;
export const MOST_LAYERS = 16;
export const MOST_UNITS = 64;
/** Fields have SIDE x SIDE cells, thumbnails means of BLOCK x BLOCK of them. */
export const SIDE = 100;
export const BLOCK = 10;

export type Activation = (typeof activations)[number];
export type Penalty = (typeof penalties)[number];
export type Dataset = (typeof datasets)[number] | (typeof regDatasets)[number];
export type Problem = (typeof problems)[number];
export type Optimizer = (typeof optimizers)[number];
export type InputName = (typeof inputNames)[number];
export type Part = 'train' | 'test';

export interface NetState {
    activation: Activation;
    regularization: Penalty;
    batchSize: number;
    dataset: Dataset;
    regDataset: Dataset;
    learningRate: number;
    regularizationRate: number;
    noise: number;
    networkShape: number[];
    seed: string;
    showTestData: boolean;
    discretize: boolean;
    percTrainData: number;
    inputs: Record<InputName, boolean>;
    problem: Problem;
    initZero: boolean;
    hideText: boolean;
    tutorial: string;
    hidden: Record<string, boolean>;
    optimizer: Optimizer;
    momentum: number;
    quick: boolean;
    /** Every value as it stands in the address, in its order; what is written comes from here. */
    text: Map<string, string>;
}

/** The values of a text that the engine has settled: every name of the original stands in it. */
export function readState(settled: string): NetState {
    const text = new Map<string, string>();
    for (const pair of settled.split('&')) {
        const at = pair.indexOf('=');
        text.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const get = (name: string): string => text.get(name) ?? '';
    const yes = (name: string): boolean => get(name) === 'true';
    const hidden: Record<string, boolean> = {};
    for (const [name, value] of text) if (name.endsWith('_hide')) hidden[name.slice(0, -5)] = value === 'true';
    return {
        activation: get('activation') as Activation,
        regularization: get('regularization') as Penalty,
        batchSize: Number(get('batchSize')),
        dataset: get('dataset') as Dataset,
        regDataset: get('regDataset') as Dataset,
        learningRate: Number(get('learningRate')),
        regularizationRate: Number(get('regularizationRate')),
        noise: Number(get('noise')),
        networkShape: get('networkShape') === '' ? [] : get('networkShape').split(',').map(Number),
        seed: get('seed'),
        showTestData: yes('showTestData'),
        discretize: yes('discretize'),
        percTrainData: Number(get('percTrainData')),
        inputs: Object.fromEntries(inputNames.map((n) => [n, yes(n)])) as Record<InputName, boolean>,
        problem: get('problem') as Problem,
        initZero: yes('initZero'),
        hideText: yes('hideText'),
        tutorial: get('tutorial'),
        hidden,
        optimizer: (get('optimizer') || 'sgd') as Optimizer,
        momentum: Number(get('momentum') || '0.9'),
        quick: yes('quick'),
        text,
    };
}

/** The text with some values changed; a value of null takes the name out. The engine settles it. */
export function changed(state: NetState, changes: Record<string, string | number | boolean | null>): string {
    const text = new Map(state.text);
    for (const [name, value] of Object.entries(changes)) {
        if (value === null) text.delete(name);
        else text.set(name, String(value));
    }
    return [...text].map(([name, value]) => `${name}=${value}`).join('&');
}

export interface Point {
    x: number;
    y: number;
    label: number;
}

export interface Saved {
    state: string;
    epoch: number;
    own: boolean;
    trainPoints: number;
    tensors: { name: string; dtype: 'f64' | 'i32'; shape: number[]; data: Float64Array | Int32Array }[];
}

export interface Layer {
    units: number;
    from: number;
    weights: Float64Array; // [units][from]
    biases: Float64Array;
    dead: boolean[]; // as weights
}

const parts = { train: 0, test: 1 } as const;
const allDatasets = [...datasets, ...regDatasets];

/** An address as it would be written, every value in its place. */
export function settle(engine: Engine, address: string): string {
    return engine.withText(address, (p) => engine.text(engine.pointer(engine.call('net_settled', p))));
}

/** Points of a data set alone, as thumbnails show them. */
export function sample(engine: Engine, dataset: Dataset, n: number, noise: number, seed: string): Float64Array {
    const out = engine.alloc(24 * n);
    try {
        const count = engine.withText(seed, (s) => engine.call('net_sample', out, allDatasets.indexOf(dataset as never), n, noise, s));
        return engine.f64(out, 3 * count).slice();
    } finally {
        engine.free(out);
    }
}

/** x, y, label of each line of a CSV file. */
export function readCsv(engine: Engine, bytes: Uint8Array, name: string): Float64Array {
    const count = engine.alloc(4);
    try {
        const points = engine.with(bytes, (p) => engine.withText(name, (n) => engine.pointer(engine.call('net_csv', p, bytes.length, n, count))));
        const data = engine.f64(points, 3 * engine.i32(count, 1)[0]).slice();
        engine.free(points);
        return data;
    } finally {
        engine.free(count);
    }
}

export class Net {
    private fields: Pointer = 0;
    private fieldsBytes = 0;

    private constructor(
        readonly engine: Engine,
        private readonly net: Pointer,
    ) {}

    static create(engine: Engine, address: string): Net {
        return new Net(engine, engine.withText(address, (p) => engine.pointer(engine.call('net_new', p))));
    }

    /** A run as it was when it was saved. */
    static restore(engine: Engine, saved: Saved): Net {
        const points = saved.tensors.find((t) => t.name === 'points');
        if (!points || points.shape.length !== 2 || points.shape[1] !== 3) throw new Error('the file has no tensor "points" of three columns');
        const net = new Net(
            engine,
            engine.with(points.data, (p) =>
                engine.withText(saved.state, (s) => engine.pointer(engine.call('net_restore', s, points.shape[0], p, saved.trainPoints, saved.own ? 1 : 0))),
            ),
        );
        try {
            for (const own of net.tensors()) {
                const t = saved.tensors.find((other) => other.name === own.name);
                if (!t) throw new Error(`the file has no tensor "${own.name}"`);
                if (t.dtype !== own.dtype || t.shape.join() !== own.shape.join())
                    throw new Error(`tensor "${own.name}" is ${t.dtype} [${t.shape.join()}]; ${own.dtype} [${own.shape.join()}] was wanted`);
                own.data.set(t.data as never);
            }
            engine.check(engine.call('net_check', net.net));
        } catch (e) {
            net.free();
            throw e;
        }
        return net;
    }

    free(): void {
        if (this.fields) this.engine.free(this.fields);
        this.engine.call('net_free', this.net);
    }

    get state(): string {
        return this.engine.text(this.engine.call('net_state', this.net));
    }

    change(address: string): void {
        this.engine.check(this.engine.withText(address, (p) => this.engine.call('net_change', this.net, p)));
    }

    reset(): void {
        this.engine.check(this.engine.call('net_reset', this.net));
    }

    regenerate(): void {
        this.engine.check(this.engine.call('net_regenerate', this.net));
    }

    train(epochs: number): void {
        this.engine.call('net_train', this.net, epochs);
    }

    get epoch(): number {
        return this.engine.call('net_epoch', this.net);
    }

    loss(part: Part): number {
        return this.engine.call('net_loss', this.net, parts[part]);
    }

    /** x, y, label, one after the other. */
    points(part: Part): Float64Array {
        const n = this.engine.call('net_n_points', this.net, parts[part]);
        return this.engine.f64(this.engine.call('net_points', this.net, parts[part]), 3 * n).slice();
    }

    setOwn(points: Float64Array): void {
        this.engine.check(this.engine.with(points, (p) => this.engine.call('net_own', this.net, points.length / 3, p)));
    }

    get own(): boolean {
        return this.engine.call('net_is_own', this.net) !== 0;
    }

    get nLayers(): number {
        return this.engine.call('net_n_layers', this.net);
    }

    /** Layer -1: the inputs. */
    units(layer: number): number {
        return this.engine.call('net_n_units', this.net, layer);
    }

    setWeight(layer: number, unit: number, from: number, w: number): void {
        this.engine.call('net_set_weight', this.net, layer, unit, from, w);
    }

    setBias(layer: number, unit: number, b: number): void {
        this.engine.call('net_set_bias', this.net, layer, unit, b);
    }

    output(x: number, y: number): number {
        return this.engine.call('net_output', this.net, x, y);
    }

    layers(): Layer[] {
        const all = new Map(this.tensors().map((t) => [t.name, t]));
        const dead = all.get('dead')?.data ?? new Int32Array(0);
        const layers: Layer[] = [];
        let at = 0;
        for (let l = 0; all.has(`layers.${l}.weight`); l++) {
            const w = all.get(`layers.${l}.weight`)!,
                b = all.get(`layers.${l}.bias`)!;
            const n = w.shape[0] * w.shape[1];
            layers.push({
                units: w.shape[0],
                from: w.shape[1],
                weights: (w.data as Float64Array).slice(),
                biases: (b.data as Float64Array).slice(),
                dead: Array.from({ length: n }, (_, i) => dead[at + i] !== 0),
            });
            at += n;
        }
        return layers;
    }

    /** Inputs that are on, then all units, the output last. */
    get nMaps(): number {
        return this.engine.call('net_n_maps', this.net);
    }

    /** The outputs of all maps over the square: [maps][side][side], row 0 on top. Valid until the next call. */
    computeFields(side: number): Float64Array {
        const n = this.nMaps * side * side;
        if (8 * n > this.fieldsBytes) {
            if (this.fields) this.engine.free(this.fields);
            this.fields = this.engine.alloc(8 * n);
            this.fieldsBytes = 8 * n;
        }
        this.engine.call('net_fields', this.net, side, this.fields);
        return this.engine.f64(this.fields, n);
    }

    /** Thumbnails of all maps after computeFields(side): [maps][side / block][side / block]. */
    blocks(side: number, block: number): Float32Array {
        const cells = Math.floor(side / block) ** 2,
            maps = this.nMaps;
        const out = this.engine.alloc(4 * cells * maps);
        for (let i = 0; i < maps; i++) this.engine.call('net_blocks', this.fields + 8 * i * side * side, side, block, out + 4 * i * cells);
        const data = this.engine.f32(out, cells * maps).slice();
        this.engine.free(out);
        return data;
    }

    /** All that the run is made of. The arrays are windows on the engine's memory, until the next call. */
    tensors(): Saved['tensors'] {
        const tensors: Saved['tensors'] = [];
        const found = this.engine.call('net_tensor_found');
        for (let i = 0; ; i++) {
            const name = this.engine.text(this.engine.call('net_tensor', this.net, i));
            if (name === '') return tensors;
            const [type, axes, at, ...dims] = this.engine.i32(found, 4 + 8);
            const shape = dims.slice(0, axes);
            const n = shape.reduce((a, b) => a * b, 1);
            tensors.push({ name, dtype: type === 1 ? 'f64' : 'i32', shape, data: type === 1 ? this.engine.f64(at, n) : this.engine.i32(at, n) });
        }
    }

    save(): Saved {
        return {
            state: this.state,
            epoch: this.epoch,
            own: this.own,
            trainPoints: this.engine.call('net_n_points', this.net, 0),
            tensors: this.tensors().map((t) => ({ ...t, data: t.data.slice() })),
        };
    }

    /** The net as a graph of the engine, as it is now; one value may be multiplied and moved, unit by unit. */
    look(edit?: { name: string; scale: Float32Array; add: Float32Array }): Look {
        const e = this.engine;
        const open = (name: Pointer, n: number, scale: Pointer, add: Pointer): Look =>
            new Look(e, e.pointer(e.call('net_look_new', this.net, name, n, scale, add)));
        if (!edit) return open(0, 0, 0, 0);
        return e.withText(edit.name, (name) => e.with(edit.scale, (scale) => e.with(edit.add, (add) => open(name, edit.scale.length, scale, add))));
    }
}

/** Any value of the net, or the gradient of the loss by it. */
export class Look {
    readonly names: string[] = [];
    readonly shapes: string[] = [];

    constructor(
        private readonly engine: Engine,
        private readonly look: Pointer,
    ) {
        for (let i = 0; ; i++) {
            const name = engine.text(engine.call('net_look_name', look, i));
            if (name === '') break;
            this.names.push(name);
            this.shapes.push(engine.text(engine.call('net_look_shape', look, i)));
        }
    }

    fetch(name: string, points: Float32Array, targets: Float32Array, gradient = false): Float32Array {
        const i = this.names.indexOf(name);
        if (i < 0) throw new Error(`no value is called ${name}`);
        const e = this.engine;
        return e.with(points, (p) =>
            e.with(targets, (t) => {
                e.check(e.call('net_look_run', this.look, i, gradient ? 1 : 0, targets.length, p, t));
                return e.f32(e.call('net_look_data', this.look), e.call('net_look_count', this.look)).slice();
            }),
        );
    }

    free(): void {
        this.engine.call('net_look_free', this.look);
    }
}

/* ---- files ---- */

/** One safetensors file that `sightglass net run --load` reads beside its config.json, and that this page opens again alone. */
export function toSafetensors(saved: Saved): Uint8Array<ArrayBuffer> {
    const header: Record<string, unknown> = {
        __metadata__: { format: 'pt', playground: JSON.stringify({ state: saved.state, epoch: saved.epoch, own: saved.own, train_points: saved.trainPoints }) },
    };
    let at = 0;
    for (const t of saved.tensors) {
        header[t.name] = { dtype: t.dtype.toUpperCase(), shape: t.shape, data_offsets: [at, at + t.data.byteLength] };
        at += t.data.byteLength;
    }
    let text = JSON.stringify(header);
    text += ' '.repeat((8 - (text.length % 8)) % 8);
    const head = new TextEncoder().encode(text);
    const file = new Uint8Array(8 + head.length + at);
    new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
    file.set(head, 8);
    at = 8 + head.length;
    for (const t of saved.tensors) {
        file.set(new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength), at);
        at += t.data.byteLength;
    }
    return file;
}

export function fromSafetensors(buffer: ArrayBuffer): Saved {
    const bad = (why: string): Error => new Error(`this is no saved net: ${why}`);
    if (buffer.byteLength < 8) throw bad('the file is too short');
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    if (!(length <= buffer.byteLength - 8)) throw bad('its header is longer than the file');
    let header: Record<string, { dtype?: string; shape?: number[]; data_offsets?: [number, number] }>, about: Record<string, unknown>;
    try {
        header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length))) as typeof header;
        about = JSON.parse(((header['__metadata__'] as Record<string, string> | undefined) ?? {})['playground'] ?? 'null') as typeof about;
    } catch {
        throw bad('its header is not JSON');
    }
    if (!about || typeof about !== 'object' || typeof about['state'] !== 'string') throw bad('it was not saved by this page');
    const tensors: Saved['tensors'] = [];
    for (const [name, t] of Object.entries(header)) {
        if (name === '__metadata__') continue;
        const dtype = t?.dtype === 'F64' ? 'f64' : t?.dtype === 'I32' ? 'i32' : null;
        const [from, to] = t?.data_offsets ?? [NaN, NaN];
        const shape = t?.shape ?? [];
        const size = shape.reduce((a, b) => a * b, 1) * (dtype === 'f64' ? 8 : 4);
        if (!dtype || !(from >= 0) || !(to <= buffer.byteLength - 8 - length) || to - from !== size) throw bad(`tensor "${name}" does not fit`);
        const bytes = buffer.slice(8 + length + from, 8 + length + to);
        tensors.push({ name, dtype, shape, data: dtype === 'f64' ? new Float64Array(bytes) : new Int32Array(bytes) });
    }
    return {
        state: about['state'],
        epoch: Number(about['epoch']) || 0,
        own: about['own'] === true,
        trainPoints: Number(about['train_points']) || 0,
        tensors,
    };
}

/** The same as JSON, for people and other programs: every number with all its digits. */
export function toJson(saved: Saved): string {
    return JSON.stringify({
        playground: { state: saved.state, epoch: saved.epoch, own: saved.own, train_points: saved.trainPoints },
        tensors: Object.fromEntries(saved.tensors.map((t) => [t.name, { dtype: t.dtype, shape: t.shape, data: Array.from(t.data, (x) => (Number.isFinite(x) ? x : String(x))) }])),
    });
}

export function fromJson(text: string): Saved {
    const bad = (why: string): Error => new Error(`this is no saved net: ${why}`);
    let root: { playground?: Record<string, unknown>; tensors?: Record<string, { dtype?: string; shape?: number[]; data?: (number | string)[] }> };
    try {
        root = JSON.parse(text) as typeof root;
    } catch {
        throw bad('it is not JSON');
    }
    const about = root?.playground;
    if (!about || typeof about['state'] !== 'string' || !root.tensors) throw bad('it has no "playground" with a "state"');
    return {
        state: about['state'],
        epoch: Number(about['epoch']) || 0,
        own: about['own'] === true,
        trainPoints: Number(about['train_points']) || 0,
        tensors: Object.entries(root.tensors).map(([name, t]) => {
            const data = Array.isArray(t.data) ? t.data.map(Number) : [];
            const shape = Array.isArray(t.shape) ? t.shape : [];
            if (data.length !== shape.reduce((a, b) => a * b, 1)) throw bad(`tensor "${name}" does not fit`);
            return { name, dtype: t.dtype === 'i32' ? 'i32' : 'f64', shape, data: t.dtype === 'i32' ? Int32Array.from(data) : Float64Array.from(data) };
        }),
    };
}
