/* The state of Train ▸ GAN: what is asked of the engine, what it answered, and the address. A change of a setting is one
 * function, so that undo, links and controls do the same. */
import { address } from '../../address';
import {
    defaults,
    LAST,
    losses,
    noises,
    rules,
    shapes,
    type Net,
    type NetOptions,
    type Options,
    type Part,
    type Stage,
    type View,
} from '../../engine/gan';
import { GanClient } from '../../engine/gan.client';
import type { Sample } from '../../engine/gan.worker';
import type { Origin } from '../../origin';
import { save } from '../../save';
import { undo } from '../../state/undo.svelte';
import { preset, type ModelFile } from './presets';

export const SLOW_MS = 1250;
const MOST_SAMPLES = 4000;
export const speeds = [
    { value: 10, title: '10 / s' },
    { value: 60, title: '60 / s' },
    { value: 300, title: '300 / s' },
    { value: Infinity, title: 'flat out' },
] as const;
export const layers = ['field', 'manifold', 'real', 'fake', 'arrows'] as const;
export type Layer = (typeof layers)[number];

/** What a link holds. */
export interface Config {
    /** The shipped model of this shape instead of fresh weights. */
    pre: boolean;
    options: Options;
}

/** Structure and data: another value is another GAN. */
const rebuilds = (a: Options, b: Options): boolean =>
    a.shape !== b.shape ||
    a.noise !== b.noise ||
    a.seed !== b.seed ||
    a.strokes !== b.strokes ||
    a.d.layers !== b.d.layers ||
    a.d.units !== b.d.units ||
    a.g.layers !== b.g.layers ||
    a.g.units !== b.g.units;

/* ---- the address ---- */

const netText = (n: NetOptions): string => [n.layers, n.units, n.k, n.rule, n.rate].join(',');

function readNet(text: string | undefined, usual: NetOptions): NetOptions {
    const [layers, units, k, rule, rate] = (text ?? '').split(',');
    const whole = (t: string | undefined, least: number, most: number, other: number): number =>
        t !== undefined && /^\d+$/.test(t) && Number(t) >= least && Number(t) <= most ? Number(t) : other;
    const x = Number(rate);
    return {
        layers: whole(layers, 0, 5, usual.layers),
        units: whole(units, 1, 100, usual.units),
        k: whole(k, 0, 10, usual.k),
        rule: rules.find((r) => r === rule) ?? usual.rule,
        rate: rate !== undefined && x > 0 && x <= 100 ? x : usual.rate,
    };
}

const STROKES_IN_LINKS = 1500;
/* Two characters a coordinate, in 1/1295: as fine as a brush of 10 pixels wants. */
const strokesText = (s: Float32Array): string => [...s].map((v) => Math.round(v * 1295).toString(36).padStart(2, '0')).join('');
function readStrokes(text: string | undefined): Float32Array | undefined {
    if (!text || !/^([0-9a-z]{4})+$/.test(text) || text.length > 4 * STROKES_IN_LINKS) return undefined;
    return Float32Array.from(text.match(/../g) ?? [], (t) => parseInt(t, 36) / 1295);
}

function readConfig(state: Readonly<Record<string, string>>): Config {
    const usual = defaults();
    const shape = shapes.find((s) => s === state['shape']) ?? usual.shape;
    const strokes = shape === 'drawing' ? readStrokes(state['strokes']) : undefined;
    const drawn = shape !== 'drawing' || strokes !== undefined;
    const options: Options = {
        shape: drawn ? shape : usual.shape,
        noise: noises.find((n) => n === state['noise']) ?? usual.noise,
        loss: losses.find((l) => l === state['loss']) ?? usual.loss,
        seed: /^\d{1,15}$/.test(state['seed'] ?? '') ? Number(state['seed']) : usual.seed,
        d: readNet(state['d'], usual.d),
        g: readNet(state['g'], usual.g),
    };
    if (strokes) options.strokes = strokes;
    return { pre: state['pre'] !== '0' && preset(options.shape) !== null, options };
}

export class Room {
    /** Null until the first GAN is there. */
    options: Options | null = $state.raw(null);
    real: Float32Array = $state.raw(new Float32Array(0));
    noise: Float32Array = $state.raw(new Float32Array(0));
    view: View | null = $state.raw(null);
    pre = $state(true);
    /** Opened from a file of the reader's: its name. */
    file: string | null = $state(null);
    /** As the label shows it, which is every second one while it plays. */
    shown = $state(0);
    playing = $state(false);
    slow = $state(false);
    stepping = $state(false);
    stage: Stage | null = $state(null);
    speed = $state(60);
    failure: string | null = $state(null);
    /** Settings that were changed and not yet computed with. */
    changed: ReadonlySet<string> = $state.raw(new Set());
    /** For curves. */
    samples: Sample[] = [];
    /** Counts up when there are others. */
    nSamples = $state(0);
    perSecond: number | null = $state(null);
    busy = $state(false);

    private readonly client = new GanClient();
    private model: ModelFile | null = null; /* what reset opens again */
    private written = '';
    private timer: ReturnType<typeof setTimeout> | null = null;
    private closed = false;

    readonly origin: Origin = $derived({
        where: 'page' as const,
        backend: 'reference',
        ...(this.file ? { model: this.file } : this.pre && this.options ? { model: `${this.options.shape}, trained here` } : {}),
        seed: this.options?.seed ?? 1,
    });

    close(): void {
        this.closed = true;
        this.pause();
        this.client.close();
    }

    /* ---- beginning ---- */

    /** Follows the address, unless it says what was written there. */
    async follow(state: Readonly<Record<string, string>>): Promise<void> {
        const text = this.keyOf(state);
        if (text === this.written) return;
        this.written = text;
        const config = readConfig(state);
        await this.begin(config, state['d'] !== undefined || state['g'] !== undefined || state['loss'] !== undefined);
    }

    private keyOf(state: Readonly<Record<string, string>>): string {
        return ['shape', 'noise', 'loss', 'seed', 'd', 'g', 'pre', 'strokes'].map((k) => state[k] ?? '').join('&');
    }

    private write(): void {
        const o = this.options;
        if (!o) return;
        const usual = defaults();
        const differs = <T,>(a: T, b: T, text: string): string | null => (a === b ? null : text);
        const changes: Record<string, string | null> = {
            shape: differs(o.shape, usual.shape, o.shape),
            pre: differs(this.pre, true, '0'),
            noise: this.pre ? null : differs(o.noise, usual.noise, o.noise),
            seed: this.pre ? null : differs(o.seed, usual.seed, String(o.seed)),
            loss: differs(o.loss, usual.loss, o.loss),
            d: this.pre && !this.tuned ? null : differs(netText(o.d), netText(usual.d), netText(o.d)),
            g: this.pre && !this.tuned ? null : differs(netText(o.g), netText(usual.g), netText(o.g)),
            strokes: o.strokes && o.strokes.length / 2 <= STROKES_IN_LINKS ? strokesText(o.strokes) : null,
        };
        const state: Record<string, string> = { ...address.state };
        for (const [k, v] of Object.entries(changes)) {
            if (v === null) delete state[k];
            else state[k] = v;
        }
        this.written = this.keyOf(state);
        address.set(changes);
    }
    private tuned = false;

    /** Another GAN: from the shipped file, or of fresh weights. */
    private async begin(config: Config, tune: boolean): Promise<void> {
        const file = config.pre ? preset(config.options.shape) : null;
        await this.try(async () => {
            if (file) {
                await this.open(file, null);
                this.pre = true;
                if (tune) await this.tune(config.options);
            } else {
                this.pause();
                const start = await this.client.ask({ what: 'create', options: config.options });
                this.model = null;
                this.pre = false;
                this.file = null;
                this.take(start);
            }
            this.tuned = tune;
        });
    }

    private async open(file: ModelFile, name: string | null): Promise<void> {
        this.pause();
        const start = await this.client.ask({ what: 'open', json: file.json, files: file.files, name: file.name, seed: 1 });
        this.model = file;
        this.file = name;
        this.take(start);
    }

    private take(start: { options: Options; real: Float32Array; noise: Float32Array; view: View }): void {
        this.options = start.options;
        this.real = start.real;
        this.noise = start.noise;
        this.view = start.view;
        this.shown = start.view.iteration;
        this.stage = null;
        this.samples = [];
        this.nSamples = 0;
        this.changed = new Set();
        this.perSecond = null;
        this.push({ iteration: start.view.iteration, cost: start.view.cost, kl: start.view.kl, js: start.view.js });
    }

    private push(...more: Sample[]): void {
        for (const sample of more) {
            const last = this.samples.at(-1);
            if (last && last.iteration === sample.iteration) this.samples[this.samples.length - 1] = sample;
            else this.samples.push(sample);
        }
        /* A curve has no more points than a screen could show; every second of the old ones goes. */
        if (this.samples.length > MOST_SAMPLES) this.samples = this.samples.filter((_, i) => i % 2 === 0 || i > MOST_SAMPLES - 100);
        this.nSamples++;
    }

    private async try(what: () => Promise<void>): Promise<boolean> {
        try {
            this.busy = true;
            await what();
            this.failure = null;
            return true;
        } catch (e) {
            this.halt();
            this.failure = e instanceof Error ? e.message : String(e);
            return false;
        } finally {
            this.busy = false;
        }
    }

    /* ---- settings ---- */

    private config(): Config | null {
        return this.options ? { pre: this.pre, options: this.options } : null;
    }

    /** Changes settings, and can take it back. */
    async change(what: string, patch: Partial<Options>): Promise<void> {
        const before = this.config();
        if (!before) return;
        const after = { ...before.options, ...patch };
        const shapeOnly = rebuilds(before.options, { ...after, shape: before.options.shape, strokes: before.options.strokes }) === false;
        const next: Config = { options: after, pre: before.pre && shapeOnly && preset(after.shape) !== null };
        await this.apply(next);
        undo.did({ what, undo: () => void this.apply(before), redo: () => void this.apply(next) });
    }
    changeNet(what: string, net: Net, patch: Partial<NetOptions>): Promise<void> {
        const o = this.options;
        return o ? this.change(what, { [net]: { ...o[net], ...patch } }) : Promise.resolve();
    }
    async setPre(pre: boolean): Promise<void> {
        const before = this.config();
        if (!before) return;
        const next: Config = { options: before.options, pre };
        await this.apply(next);
        undo.did({ what: pre ? 'the trained model' : 'fresh weights', undo: () => void this.apply(before), redo: () => void this.apply(next) });
    }

    private async apply(next: Config): Promise<void> {
        const now = this.options;
        if (!now) return;
        if (next.pre !== this.pre || rebuilds(now, next.options)) await this.begin(next, false);
        else await this.try(() => this.tune(next.options));
        this.write();
    }

    /** What takes effect at once, on the GAN that is there. */
    private async tune(next: Options): Promise<void> {
        const marks = new Set(this.changed);
        for (const net of ['d', 'g'] as const) {
            const now = this.options;
            if (!now) return;
            const a = now[net],
                b = next[net];
            if (a.rule !== b.rule || a.rate !== b.rate) {
                this.options = await this.client.ask({ what: 'rule', net, rule: b.rule, rate: b.rate });
                if (a.rule !== b.rule) marks.add(`${net}.rule`);
                if (a.rate !== b.rate) marks.add(`${net}.rate`);
            }
            if (a.k !== b.k) {
                this.options = await this.client.ask({ what: 'k', net, k: b.k });
                marks.add(`${net}.k`);
            }
        }
        if (this.options && this.options.loss !== next.loss) {
            this.options = await this.client.ask({ what: 'loss', loss: next.loss });
            marks.add('loss');
        }
        this.tuned = true;
        this.changed = marks;
    }

    /** Reloads the model, or draws the same fresh weights again. */
    async reset(): Promise<void> {
        const config = this.config();
        if (!config) return;
        const { model, file } = this;
        if (model) {
            await this.try(() => this.open(model, file));
            this.tuned = file !== null;
        } else {
            await this.begin(config, false);
        }
        this.write();
    }

    /* ---- files ---- */

    async save(): Promise<void> {
        const o = this.options;
        if (!o) return;
        await this.try(async () => {
            const name = `sightglass-gan-${o.shape}`;
            const saved = await this.client.ask({ what: 'save', weights: `${name}.weights.bin` });
            save(`${name}.json`, saved.json, 'application/json');
            save(`${name}.weights.bin`, saved.weights as Uint8Array<ArrayBuffer>, 'application/octet-stream');
        });
    }

    /** A model file of the reader's: the JSON and the numbers beside it. */
    async load(files: readonly File[]): Promise<void> {
        await this.try(async () => {
            const json = files.find((f) => /\.json$/i.test(f.name));
            if (!json) throw new Error('Wanted the .json of a model, together with the file of numbers beside it.');
            const bytes = new Map<string, Uint8Array>();
            for (const f of files) if (f !== json) bytes.set(f.name, new Uint8Array(await f.arrayBuffer()));
            await this.open({ name: json.name, json: await json.text(), files: bytes }, json.name);
            this.pre = false;
            this.tuned = true;
            this.write();
        });
    }

    /* ---- time ---- */

    play(): void {
        if (this.playing || !this.options) return;
        this.stepping = false;
        this.failure = null;
        this.playing = true;
        if (this.slow) this.slowTick();
        else this.run();
    }

    /** Stops; what was computed stays as it is, and the picture is that of it. */
    pause(): void {
        if (!this.playing) return;
        this.halt();
        if (!this.slow && !this.closed) void this.try(async () => this.see((await this.client.ask({ what: 'look' })).view));
    }
    private halt(): void {
        this.playing = false;
        if (this.timer) clearTimeout(this.timer);
        this.timer = null;
    }

    private see(view: View): void {
        this.view = view;
        this.shown = view.iteration;
        this.changed = new Set();
    }

    /* The engine trains on while the page draws; what it answered is shown once a frame. */
    private run(): void {
        let before = performance.now(),
            owed = 1,
            waiting = false,
            counted = 0,
            since = before,
            iteration = -1,
            view: View | null = null,
            samples: Sample[] = [];
        const alive = (): boolean => this.playing && !this.slow && !this.closed;
        const show = (): void => {
            if (view) this.view = view;
            view = null;
            if (samples.length > 0) this.push(...samples);
            samples = [];
            if (iteration < 0) return;
            this.shown = iteration <= 1 ? iteration : iteration - (iteration % 2);
            if (this.changed.size > 0) this.changed = new Set();
            if (iteration >= LAST) this.pause();
        };
        const ask = (): void => {
            if (waiting || !alive() || owed < 1) return;
            waiting = true;
            const most = Number.isFinite(this.speed) ? Math.floor(owed) : 1e6;
            this.client.ask({ what: 'advance', most, milliseconds: 12 }).then(
                (a) => {
                    waiting = false;
                    owed -= Number.isFinite(owed) ? a.done : 0;
                    counted += a.done;
                    iteration = a.iteration;
                    view = a.view ?? view;
                    samples.push(...a.samples);
                    ask();
                },
                (e: unknown) => {
                    this.halt();
                    this.failure = e instanceof Error ? e.message : String(e);
                },
            );
        };
        const frame = (now: number): void => {
            if (!alive()) return;
            /* What a slow screen left undone is made up for, half a second of it. */
            owed = Math.min(owed + ((now - before) / 1000) * this.speed, Math.max(1, this.speed / 2));
            before = now;
            show();
            if (now - since > 1000) {
                this.perSecond = (counted / (now - since)) * 1000;
                counted = 0;
                since = now;
            }
            ask();
            requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
    }

    private slowTick(): void {
        this.timer = null;
        if (!this.playing || !this.slow) return;
        this.client.ask({ what: 'slow' }).then(
            ({ stage, view }) => {
                if (!this.slow) return;
                this.stage = stage;
                this.see(view);
                if (stage === 'g-update') this.push({ iteration: view.iteration, cost: view.cost, kl: view.kl, js: view.js });
                if (this.playing) this.timer = setTimeout(() => this.slowTick(), SLOW_MS);
            },
            (e: unknown) => {
                this.halt();
                this.failure = e instanceof Error ? e.message : String(e);
            },
        );
    }

    setSlow(slow: boolean): void {
        if (slow === this.slow) return;
        const played = this.playing;
        if (played) this.halt();
        this.slow = slow;
        this.stage = null;
        if (slow) this.stepping = false;
        if (played) this.play();
    }
    setStepping(stepping: boolean): void {
        if (stepping) {
            this.pause();
            this.setSlow(false);
        }
        this.stepping = stepping;
    }

    /** One part of an iteration, or the next stage where it goes slowly. */
    async step(part: Part = 'both'): Promise<void> {
        if (this.playing) this.pause();
        if (this.slow && part === 'both') {
            this.playing = true;
            this.slowTick();
            this.playing = false;
            return;
        }
        await this.try(async () => {
            const { view, sample } = await this.client.ask({ what: 'step', part });
            this.stage = null;
            this.see(view);
            this.push(sample);
        });
    }
}
