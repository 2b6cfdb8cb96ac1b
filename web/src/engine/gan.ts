/* The GAN in the page's engine: a face over web/engine/gan.c. One Gan is one thread's.
 *
 *     const gan = Gan.create(engine, { ...defaults(), shape: 'ring', seed: 1 });
 *     gan.step('both', 100);
 *     const view = gan.look(See.all);
 *     gan.free();
 *
 * The lists below are in the order of the C enumerations; a test holds them to the names that the engine says. */

import type { Engine, Pointer } from './wasm';

export const shapes = ['line', 'gaussians', 'ring', 'disjoint', 'drawing'] as const;
export const noises = ['1D Uniform', '1D Gaussian', '2D Uniform', '2D Gaussian'] as const;
export const losses = ['Log loss', 'LeastSq loss'] as const;
export const rules = ['SGD', 'Adam'] as const;
export const nets = ['d', 'g'] as const;
export const parts = ['both', 'd', 'g'] as const;
export const stages = [
    'd-samples',
    'd-predictions',
    'd-loss',
    'd-gradients',
    'd-update',
    'g-samples',
    'g-predictions',
    'g-loss',
    'g-gradients',
    'g-update',
] as const;

export type Shape = (typeof shapes)[number];
export type Noise = (typeof noises)[number];
export type Loss = (typeof losses)[number];
export type Rule = (typeof rules)[number];
export type Net = (typeof nets)[number];
export type Part = (typeof parts)[number];
export type Stage = (typeof stages)[number];

export const BATCH = 150;
export const ATLAS = 12000;
export const SHOWN = 450;
export const GRID = 30;
export const CELLS = 20;
export const LAST = 999999;

export interface NetOptions {
    layers: number;
    units: number;
    k: number;
    rule: Rule;
    rate: number;
}

export interface Options {
    shape: Shape;
    noise: Noise;
    loss: Loss;
    seed: number;
    d: NetOptions;
    g: NetOptions;
    /** Points of a drawing, x and y in the unit square, one after the other. */
    strokes?: Float32Array;
}

export function defaults(): Options {
    return {
        shape: 'gaussians',
        noise: '2D Uniform',
        loss: 'Log loss',
        seed: 1,
        d: { layers: 1, units: 8, k: 2, rule: 'SGD', rate: 0.1 },
        g: { layers: 1, units: 8, k: 1, rule: 'SGD', rate: 0.1 },
    };
}

export const noiseDims = (noise: Noise): 1 | 2 => (noise.startsWith('1D') ? 1 : 2);

/** Parts of a look. */
export const See = { samples: 1, predictions: 2, field: 4, arrows: 8, manifold: 16, metrics: 32, all: 63 } as const;

/** What is to be drawn, copied out of the engine. Points are x and y, one after the other. */
export interface View {
    iteration: number;
    fake: Float32Array;
    dReal: Float32Array;
    dFake: Float32Array;
    arrow: Float32Array;
    field: Float32Array;
    manifold: Float32Array;
    opacity: Float32Array;
    /** NaN before the first update. */
    cost: { d: number; g: number };
    bar: { d: number; g: number };
    norm: { d: number; g: number };
    kl: number;
    js: number;
    outside: { real: number; fake: number };
    updates: { d: number; g: number };
}

/** A model file as text and numbers. */
export interface Saved {
    json: string;
    weights: Uint8Array;
}

const NET_NUMBERS = 5;

function numbersOf(o: Options): Float64Array {
    const net = (n: NetOptions): number[] => [n.layers, n.units, n.k, rules.indexOf(n.rule), n.rate];
    return Float64Array.from([
        shapes.indexOf(o.shape),
        noises.indexOf(o.noise),
        losses.indexOf(o.loss),
        o.seed,
        ...net(o.d),
        ...net(o.g),
    ]);
}

/** Texts, numbers and truths of a topology by their way there, as the command reads them too. */
function facts(value: unknown, at: string, depth: number, out: [string, string][]): void {
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) {
        if (depth >= 8) return;
        for (const [key, child] of Object.entries(value)) facts(child, at ? `${at}.${key}` : key, depth + 1, out);
    } else if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
        out.push([at, String(value)]);
    }
}

interface Entry {
    name: string;
    dtype: string;
    shape: number[];
    quantization?: { dtype: string; scale?: number; min?: number } | null;
}

export class ModelFileError extends Error {}

function check(ok: boolean, words: string): asserts ok {
    if (!ok) throw new ModelFileError(words);
}

const own = (path: string): string => path.replace(/^.*[/\\]/, '');

interface Parsed {
    facts: [string, string][];
    groups: { paths: string[]; weights: Entry[] }[];
}

/** The form of the JSON; whether its contents make sense the engine decides. */
export function parseModel(json: string, name: string): Parsed {
    let root: unknown;
    try {
        root = JSON.parse(json);
    } catch (e) {
        throw new ModelFileError(`${name}: ${(e as Error).message}`);
    }
    const { modelTopology, weightsManifest } = (root ?? {}) as { modelTopology?: unknown; weightsManifest?: unknown };
    check(Array.isArray(weightsManifest), `${name}: there is no list weightsManifest`);
    const parsed: Parsed = { facts: [], groups: [] };
    facts(modelTopology, '', 0, parsed.facts);
    for (const group of weightsManifest as unknown[]) {
        const { paths, weights } = (group ?? {}) as { paths?: unknown; weights?: unknown };
        check(
            Array.isArray(paths) && paths.every((p) => typeof p === 'string') && Array.isArray(weights),
            `${name}: a group of the manifest lacks its lists of paths and weights`,
        );
        for (const w of weights as Partial<Entry>[])
            check(
                typeof w?.name === 'string' && typeof w.dtype === 'string' && Array.isArray(w.shape) &&
                    w.shape.length <= 8 && w.shape.every((d) => Number.isSafeInteger(d)) &&
                    (w.quantization == null || typeof w.quantization.dtype === 'string'),
                `${name}: a weight of the manifest lacks its name, dtype, shape or quantization`,
            );
        parsed.groups.push({ paths: (paths as string[]).map(own), weights: weights as Entry[] });
    }
    return parsed;
}

/** Names of the files of numbers that a JSON wants beside it. */
export function wantedFiles(json: string, name: string): string[] {
    return parseModel(json, name).groups.flatMap((g) => g.paths);
}

export class Gan {
    private readonly engine: Engine;
    private readonly at: Pointer;
    private options_: Options;

    private constructor(engine: Engine, at: Pointer) {
        this.engine = engine;
        this.at = at;
        this.options_ = this.readOptions();
    }

    static create(engine: Engine, options: Options): Gan {
        const strokes = options.shape === 'drawing' ? (options.strokes ?? new Float32Array(0)) : new Float32Array(0);
        const at = engine.with(numbersOf(options), (p) =>
            engine.with(strokes, (s) => engine.pointer(engine.call('gan_new', p, s, strokes.length >> 1))),
        );
        return new Gan(engine, at);
    }

    /** From a model file and the files of numbers beside it, by name. */
    static open(engine: Engine, json: string, files: Map<string, Uint8Array>, name: string, seed: number): Gan {
        const parsed = parseModel(json, name);
        const file = engine.withText(name, (p) => engine.pointer(engine.call('gan_file_new', p)));
        try {
            for (const [key, text] of parsed.facts)
                engine.withText(key, (k) =>
                    engine.withText(text, (t) => engine.check(engine.call('gan_file_fact', file, k, t))),
                );
            for (const group of parsed.groups) {
                const shards = group.paths.map((path) => {
                    const bytes = files.get(path);
                    check(bytes !== undefined, `${name}: the file of numbers "${path}" is not beside it`);
                    return bytes;
                });
                addGroup(engine, file, group.weights, shards);
            }
            return new Gan(engine, engine.pointer(engine.call('gan_from', file, seed)));
        } finally {
            engine.call('gan_file_free', file);
        }
    }

    free(): void {
        this.engine.call('gan_free', this.at);
    }

    get options(): Options {
        return this.options_;
    }

    private readOptions(): Options {
        const x = this.engine.f64(this.engine.call('gan_options', this.at), 4 + 2 * NET_NUMBERS).slice();
        const net = (from: number): NetOptions => ({
            layers: x[from]!,
            units: x[from + 1]!,
            k: x[from + 2]!,
            rule: rules[x[from + 3]!]!,
            rate: x[from + 4]!,
        });
        const options: Options = {
            shape: shapes[x[0]!]!,
            noise: noises[x[1]!]!,
            loss: losses[x[2]!]!,
            seed: x[3]!,
            d: net(4),
            g: net(4 + NET_NUMBERS),
        };
        const n = this.engine.call('gan_n_strokes', this.at);
        if (n > 0) options.strokes = this.engine.f32(this.engine.call('gan_strokes', this.at), 2 * n).slice();
        return options;
    }

    /* ---- training ---- */

    step(part: Part, times = 1): void {
        this.engine.check(this.engine.call('gan_step', this.at, parts.indexOf(part), times));
    }

    /** The next of the ten parts of an iteration. */
    slow(): Stage {
        const stage = this.engine.call('gan_slow', this.at);
        if (stage < 0) throw this.engine.failure();
        return stages[stage]!;
    }

    setRule(net: Net, rule: Rule, rate: number): void {
        this.engine.check(this.engine.call('gan_set_rule', this.at, nets.indexOf(net), rules.indexOf(rule), rate));
        this.options_ = this.readOptions();
    }

    setK(net: Net, k: number): void {
        this.engine.check(this.engine.call('gan_set_k', this.at, nets.indexOf(net), k));
        this.options_ = this.readOptions();
    }

    setLoss(loss: Loss): void {
        this.engine.call('gan_set_loss', this.at, losses.indexOf(loss));
        this.options_ = this.readOptions();
    }

    /* ---- looking ---- */

    look(see: number = See.all): View {
        this.engine.check(this.engine.call('gan_look', this.at, see));
        return this.view();
    }

    /** What was seen last. */
    view(): View {
        const dims = noiseDims(this.options_.noise);
        const n = this.engine.f64(this.engine.call('gan_numbers', this.at), 13).slice();
        const lattice = dims === 1 ? CELLS + 1 : (CELLS + 1) * (CELLS + 1);
        return {
            iteration: n[0]!,
            fake: this.picture(0, 2 * BATCH),
            dReal: this.picture(1, BATCH),
            dFake: this.picture(2, BATCH),
            arrow: this.picture(3, 2 * BATCH),
            field: this.picture(4, GRID * GRID),
            manifold: this.picture(5, 2 * lattice),
            opacity: this.picture(7, dims === 1 ? 0 : CELLS * CELLS),
            cost: { d: n[1]!, g: n[2]! },
            bar: { d: n[3]!, g: n[4]! },
            norm: { d: n[5]!, g: n[6]! },
            kl: n[7]!,
            js: n[8]!,
            outside: { real: n[9]!, fake: n[10]! },
            updates: { d: n[11]!, g: n[12]! },
        };
    }

    private picture(which: number, n: number): Float32Array {
        return this.engine.f32(this.engine.call('gan_picture', this.at, which), n).slice();
    }

    get iteration(): number {
        return this.engine.f64(this.engine.call('gan_numbers', this.at), 1)[0]!;
    }

    /** The real samples that are shown, or all of the atlas. */
    real(n = SHOWN): Float32Array {
        return this.picture(8, 2 * n);
    }

    /** The noise that is looked at, or all of the atlas. */
    noise(n = BATCH): Float32Array {
        return this.picture(9, noiseDims(this.options_.noise) * n);
    }

    /** G at points of the noise. */
    generate(z: Float32Array): Float32Array {
        const n = z.length / noiseDims(this.options_.noise);
        return this.engine.with(z, (from) =>
            this.engine.with(new Float32Array(2 * n), (to) => {
                this.engine.check(this.engine.call('gan_generate', this.at, to, from, n));
                return this.engine.f32(to, 2 * n).slice();
            }),
        );
    }

    /** D at points, and its slope there. */
    judge(x: Float32Array): { d: Float32Array; arrows: Float32Array } {
        const n = x.length / 2;
        return this.engine.with(x, (from) =>
            this.engine.with(new Float32Array(n), (d) =>
                this.engine.with(new Float32Array(2 * n), (arrows) => {
                    this.engine.check(this.engine.call('gan_judge', this.at, d, arrows, from, n));
                    return { d: this.engine.f32(d, n).slice(), arrows: this.engine.f32(arrows, 2 * n).slice() };
                }),
            ),
        );
    }

    /** The model file, whose JSON names its numbers `weightsName`. */
    save(weightsName: string): Saved {
        this.engine.withText(weightsName, (p) => this.engine.check(this.engine.call('gan_write', this.at, p)));
        const json = this.engine.text(this.engine.call('gan_json'));
        const n = this.engine.call('gan_n_weights');
        return { json, weights: this.engine.bytes(this.engine.call('gan_weights'), 4 * n).slice() };
    }
}

function addGroup(engine: Engine, file: Pointer, weights: Entry[], shards: Uint8Array[]): void {
    const ROW = 11;
    const numbers = new Float64Array(ROW * weights.length);
    const texts = new Uint32Array(3 * weights.length);
    const bytes = new Uint8Array(shards.reduce((n, s) => n + s.length, 0));
    const mine: Pointer[] = [];
    const text = (t: string): Pointer => {
        const encoded = new TextEncoder().encode(t + '\0');
        const p = engine.alloc(encoded.length);
        mine.push(p);
        engine.bytes(p, encoded.length).set(encoded);
        return p;
    };
    let at = 0;
    for (const s of shards) {
        bytes.set(s, at);
        at += s.length;
    }
    try {
        weights.forEach((w, i) => {
            const row = numbers.subarray(ROW * i, ROW * (i + 1));
            row[0] = w.shape.length;
            w.shape.forEach((d, k) => (row[1 + k] = d));
            row[9] = w.quantization?.scale ?? NaN;
            row[10] = w.quantization?.min ?? NaN;
            texts.set([text(w.name), text(w.dtype), w.quantization ? text(w.quantization.dtype) : 0], 3 * i);
        });
        engine.with(texts, (t) =>
            engine.with(numbers, (x) =>
                engine.with(bytes, (b) =>
                    engine.check(engine.call('gan_file_group', file, weights.length, t, x, b, bytes.length)),
                ),
            ),
        );
    } finally {
        for (const p of mine) engine.free(p);
    }
}
