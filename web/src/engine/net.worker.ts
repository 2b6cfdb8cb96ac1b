/* A Playground in a thread of its own. It trains while frames are asked for: the page sends `drawn` when it has drawn one, so
 * training keeps the pace of the screen and nothing piles up. */
import { load, type Engine } from './wasm';
import { BLOCK, fromJson, fromSafetensors, Net, readCsv, sample, SIDE, type Dataset, type Layer, type Saved } from './net';

export type Order =
    | { kind: 'open'; module: WebAssembly.Module; address: string }
    | { kind: 'change'; address: string; count: number } // count: how many changes were asked for so far
    | { kind: 'play'; playing: boolean }
    | { kind: 'pace'; pace: number } // epochs a frame; 0: as many as fit into it
    | { kind: 'step' }
    | { kind: 'train'; epochs: number }
    | { kind: 'reset' }
    | { kind: 'regenerate' }
    | { kind: 'weight'; layer: number; unit: number; from: number; value: number }
    | { kind: 'bias'; layer: number; unit: number; value: number }
    | { kind: 'map'; map: number } // which field is shown large; -1: the output
    | { kind: 'own'; bytes: Uint8Array; name: string; scale: boolean }
    | { kind: 'restore'; bytes: ArrayBuffer; name: string }
    | { kind: 'save' }
    | { kind: 'look'; id: number; points: Float32Array; targets: Float32Array; edit?: { name: string; scale: Float32Array; add: Float32Array } }
    | { kind: 'thumbnails' }
    | { kind: 'drawn' };

export interface Frame {
    kind: 'frame';
    epoch: number;
    train: number;
    test: number;
    /** Set where it may have changed, with the count of the last change that is in it. */
    state?: string;
    count: number;
    points?: { train: Float64Array; test: Float64Array; own: boolean; scaled: number };
    layers: Layer[];
    /** The large field [SIDE][SIDE], and which map it is. */
    field: Float32Array;
    map: number;
    /** [maps][SIDE / BLOCK]^2 */
    thumbs: Float32Array;
    /** The curve begins anew. */
    fresh: boolean;
    seconds: number;
    epochs: number; // trained since the last frame
}

export interface Looked {
    name: string;
    shape: string;
    values: Float32Array | null;
    gradient: Float32Array | null;
}

export type Answer =
    | Frame
    | { kind: 'thumbnails'; sets: Record<string, Float64Array> }
    | { kind: 'saved'; saved: Saved }
    | { kind: 'looked'; id: number; plain: Looked[]; edited: Looked[] | null }
    | { kind: 'failed'; what: string; text: string };

const post = (answer: Answer, transfer: Transferable[] = []): void => (self as unknown as Worker).postMessage(answer, transfer);

let engine: Engine | null = null;
let net: Net | null = null;
let playing = false,
    pace = 1,
    map = -1,
    waiting = false, // for the page to draw
    dirty = false, // something changed that no frame showed yet
    fresh = false,
    newState = false,
    newPoints = false,
    scaled = 1,
    trained = 0,
    seconds = 0,
    count = 0;

let last: { maps: number; shown: number; field: Float32Array; thumbs: Float32Array; at: number; took: number } | null = null;

function frame(): void {
    if (!net) return;
    waiting = true;
    dirty = false;
    const maps = net.nMaps;
    const shown = map >= 0 && map < maps - 1 ? map : maps - 1;
    /* Fields of a large net take longer than its training: while it plays, they get a fifth of the time. */
    const now = performance.now();
    if (!playing || !last || last.maps !== maps || last.shown !== shown || now - last.at > 4 * last.took) {
        const fields = net.computeFields(SIDE);
        last = {
            maps,
            shown,
            field: Float32Array.from(fields.subarray(shown * SIDE * SIDE, (shown + 1) * SIDE * SIDE)),
            thumbs: net.blocks(SIDE, BLOCK),
            at: now,
            took: performance.now() - now,
        };
    }
    const field = last.field.slice(),
        thumbs = last.thumbs.slice();
    const answer: Frame = {
        kind: 'frame',
        epoch: net.epoch,
        train: net.loss('train'),
        test: net.loss('test'),
        layers: net.layers(),
        field,
        map: shown === maps - 1 ? -1 : shown,
        thumbs,
        fresh,
        count,
        seconds,
        epochs: trained,
    };
    if (newState) answer.state = net.state;
    if (newPoints) answer.points = { train: net.points('train'), test: net.points('test'), own: net.own, scaled };
    fresh = newState = newPoints = false;
    trained = seconds = 0;
    post(answer, [field.buffer, thumbs.buffer]);
}

function show(): void {
    if (waiting) dirty = true;
    else frame();
}

function train(epochs: number): void {
    const began = performance.now();
    net?.train(epochs);
    trained += epochs;
    seconds += (performance.now() - began) / 1000;
}

/* As many epochs as take about 12 ms, which leaves room for a frame. */
let perBurst = 1;
function burst(): void {
    const began = performance.now();
    train(perBurst);
    const took = performance.now() - began;
    perBurst = Math.max(1, Math.min(100_000, Math.round(perBurst * Math.min(4, 12 / Math.max(took, 0.05)))));
}

function replace(next: Net): void {
    net?.free();
    net = next;
    fresh = newState = newPoints = true;
}

/* Points that lie outside the square are brought into it, all by one factor. */
function intoSquare(points: Float64Array): number {
    let far = 0;
    for (let i = 0; i < points.length; i += 3) far = Math.max(far, Math.abs(points[i]), Math.abs(points[i + 1]));
    if (far === 0 || (far > 2 && far <= 6)) return 1;
    const by = 5 / far;
    for (let i = 0; i < points.length; i += 3) {
        points[i] *= by;
        points[i + 1] *= by;
    }
    return by;
}

function lookInto(order: Extract<Order, { kind: 'look' }>, edit?: Extract<Order, { kind: 'look' }>['edit']): Looked[] {
    const look = net!.look(edit);
    try {
        return look.names.map((name, i) => {
            const get = (gradient: boolean): Float32Array | null => {
                try {
                    return look.fetch(name, order.points, order.targets, gradient);
                } catch {
                    return null;
                }
            };
            return { name, shape: look.shapes[i], values: get(false), gradient: get(true) };
        });
    } finally {
        look.free();
    }
}

async function obey(order: Order): Promise<void> {
    if (order.kind === 'open') {
        engine ??= await load(order.module);
        replace(Net.create(engine, order.address));
        scaled = 1;
        show();
        return;
    }
    if (!engine || !net) return;
    switch (order.kind) {
        case 'change': {
            const before = net.epoch,
                seed = net.state;
            const own = net.own;
            count = order.count;
            net.change(order.address);
            newState = true;
            newPoints ||= net.state !== seed;
            fresh ||= net.epoch < before || before === 0;
            if (own && !net.own) scaled = 1;
            break;
        }
        case 'play':
            if (playing === order.playing) return;
            playing = order.playing;
            if (!playing) return;
            if (!waiting) advance();
            return;
        case 'pace':
            pace = order.pace;
            return;
        case 'step':
            playing = false;
            train(1);
            break;
        case 'train':
            train(order.epochs);
            break;
        case 'reset':
            net.reset();
            fresh = true;
            break;
        case 'regenerate':
            net.regenerate();
            scaled = 1;
            newState = newPoints = true;
            break;
        case 'weight':
            net.setWeight(order.layer, order.unit, order.from, order.value);
            break;
        case 'bias':
            net.setBias(order.layer, order.unit, order.value);
            break;
        case 'map':
            if (map === order.map) return;
            map = order.map;
            break;
        case 'own': {
            const points = readCsv(engine, order.bytes, order.name);
            scaled = order.scale ? intoSquare(points) : 1;
            net.setOwn(points);
            fresh = newPoints = newState = true;
            break;
        }
        case 'restore': {
            const json = new Uint8Array(order.bytes)[0] === 0x7b;
            const saved = json ? fromJson(new TextDecoder().decode(order.bytes)) : fromSafetensors(order.bytes);
            replace(Net.restore(engine, saved));
            break;
        }
        case 'save':
            post({ kind: 'saved', saved: net.save() });
            return;
        case 'look':
            post({ kind: 'looked', id: order.id, plain: lookInto(order), edited: order.edit ? lookInto(order, order.edit) : null });
            return;
        case 'thumbnails': {
            const sets: Record<string, Float64Array> = {};
            for (const d of ['circle', 'xor', 'gauss', 'spiral', 'reg-plane', 'reg-gauss'] as Dataset[]) sets[d] = sample(engine, d, 200, 0, 'thumbnail');
            post({ kind: 'thumbnails', sets });
            return;
        }
        case 'drawn':
            waiting = false;
            if (playing) advance();
            else if (dirty) frame();
            return;
    }
    show();
}

function advance(): void {
    if (pace === 0) burst();
    else train(pace);
    frame();
}

let chain: Promise<void> = Promise.resolve();
self.addEventListener('message', (e: MessageEvent<Order>) => {
    const order = e.data;
    chain = chain.then(() =>
        obey(order).catch((error: unknown) => post({ kind: 'failed', what: order.kind, text: error instanceof Error ? error.message : String(error) })),
    );
});
