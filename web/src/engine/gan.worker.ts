/* The GAN's own thread. Each message is a request with a number; the answer carries it back. Training is asked for in
 * portions, so whoever draws decides how fast it goes and nothing piles up. */
import { Gan, See, type Loss, type Net, type Options, type Part, type Rule, type Saved, type Stage, type View } from './gan';
import { EngineError, load, type Engine, type Source } from './wasm';

/** What is measured on the way, for curves. */
export interface Sample {
    iteration: number;
    cost: { d: number; g: number };
    kl: number;
    js: number;
}

/** What a GAN is when it begins. */
export interface Start {
    options: Options;
    real: Float32Array;
    noise: Float32Array;
    view: View;
}

export interface Advance {
    iteration: number;
    samples: Sample[];
    /** Where a picture was due. */
    view: View | null;
    /** In which it computed. */
    seconds: number;
    done: number;
}

export type Request =
    | { what: 'load'; source: Source }
    | { what: 'create'; options: Options }
    | { what: 'open'; json: string; files: Map<string, Uint8Array>; name: string; seed: number }
    | { what: 'advance'; most: number; milliseconds: number }
    | { what: 'step'; part: Part }
    | { what: 'slow' }
    | { what: 'look' }
    | { what: 'rule'; net: Net; rule: Rule; rate: number }
    | { what: 'k'; net: Net; k: number }
    | { what: 'loss'; loss: Loss }
    | { what: 'save'; weights: string };

export interface Replies {
    load: string;
    create: Start;
    open: Start;
    advance: Advance;
    step: { view: View; sample: Sample };
    slow: { stage: Stage; view: View };
    look: { view: View };
    rule: Options;
    k: Options;
    loss: Options;
    save: Saved;
}

export type Answer = { id: number; ok: true; value: unknown } | { id: number; ok: false; text: string; status: number };

/** Pictures are drawn at the first iteration and at each multiple of this. */
export const PICTURE_EVERY = 50;

let engine: Engine | null = null;
let gan: Gan | null = null;

function there(): Gan {
    if (!gan) throw new EngineError('there is no GAN yet', 1);
    return gan;
}

function start(next: Gan): Start {
    gan?.free();
    gan = next;
    return { options: next.options, real: next.real(), noise: next.noise(), view: next.look() };
}

const sampleOf = (v: View): Sample => ({ iteration: v.iteration, cost: v.cost, kl: v.kl, js: v.js });

function advance(most: number, milliseconds: number): Advance {
    const g = there();
    const began = performance.now();
    const samples: Sample[] = [];
    let due = false,
        done = 0,
        iteration = g.iteration;
    while (done < most && (done === 0 || performance.now() - began < milliseconds)) {
        g.step('both');
        done++;
        iteration++;
        if (iteration === 1 || iteration % PICTURE_EVERY === 0) {
            due = true;
            samples.push(sampleOf(g.look(See.samples | See.metrics)));
        }
    }
    const view = due ? g.look() : null;
    return { iteration, samples, view, seconds: (performance.now() - began) / 1000, done };
}

async function answer(request: Request): Promise<unknown> {
    if (request.what === 'load') {
        engine = await load(request.source);
        return engine.version;
    }
    if (!engine) throw new EngineError('the engine is not loaded', 1);
    switch (request.what) {
        case 'create':
            return start(Gan.create(engine, request.options));
        case 'open':
            return start(Gan.open(engine, request.json, request.files, request.name, request.seed));
        case 'advance':
            return advance(request.most, request.milliseconds);
        case 'step': {
            there().step(request.part);
            const view = there().look();
            return { view, sample: sampleOf(view) };
        }
        case 'slow': {
            const stage = there().slow();
            return { stage, view: there().view() };
        }
        case 'look':
            return { view: there().look() };
        case 'rule':
            there().setRule(request.net, request.rule, request.rate);
            return there().options;
        case 'k':
            there().setK(request.net, request.k);
            return there().options;
        case 'loss':
            there().setLoss(request.loss);
            return there().options;
        case 'save':
            return there().save(request.weights);
    }
}

/* One after the other, in the order in which they came. */
let last: Promise<void> = Promise.resolve();
self.onmessage = (e: MessageEvent<{ id: number; request: Request }>) => {
    const { id, request } = e.data;
    last = last.then(async () => {
        let reply: Answer;
        try {
            reply = { id, ok: true, value: await answer(request) };
        } catch (error) {
            const status = error instanceof EngineError ? error.status : 1;
            reply = { id, ok: false, text: error instanceof Error ? error.message : String(error), status };
        }
        self.postMessage(reply);
    });
};
