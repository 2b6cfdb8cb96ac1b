/* The place's side of the worker: what is asked of it, the last frame, the curve, and the address. One for the whole page, so that
 * a net is still there when one comes back to it. */
import { address } from '../../address';
import { engineModule } from '../../engine/module';
import { changed, readState, type NetState, type Saved } from '../../engine/net';
import type { Answer, Frame, Order } from '../../engine/net.worker';
import NetWorker from '../../engine/net.worker?worker&inline';
import { sel } from '../../state/sel';
import { undo } from '../../state/undo.svelte';
import type { Origin } from '../../origin';

/** The losses of every frame, thinned so that their number stays bounded. */
const CURVE = 4096;

class NetClient {
    frame: Frame | null = $state.raw(null);
    state: NetState | null = $state.raw(null);
    points: NonNullable<Frame['points']> | null = $state.raw(null);
    thumbnails: Record<string, Float64Array> = $state.raw({});
    playing = $state(false);
    pace = $state(1);
    /** Measured over the last second. */
    rate = $state(0); // epochs per second, with everything around them
    trainSeconds = $state(0); // in the engine, since the last reset
    failure: string | null = $state(null);
    ownName = $state('');
    /** Links and units that were changed by hand since the last epoch: "1.0.2", "1.0". */
    touched: ReadonlySet<string> = $state.raw(new Set());

    curveEpochs = new Float64Array(CURVE);
    curveTrain = new Float64Array(CURVE);
    curveTest = new Float64Array(CURVE);
    curveN = $state(0);
    low = $state(Infinity);
    high = $state(-Infinity);

    private worker: Worker | null = null;
    private opening: Promise<void> | null = null;
    private savers: ((saved: Saved) => void)[] = [];
    private lookers = new Map<number, (answer: Extract<Answer, { kind: 'looked' }>) => void>();
    private looks = 0;
    private written: string | null = null;
    private count = 0;
    private every = 1;
    private ticks: { at: number; epochs: number }[] = [];

    readonly origin: Origin = $derived({ where: 'page', backend: 'playground, f64', seed: this.state?.seed ?? '', seconds: this.trainSeconds });

    send(order: Order, transfer: Transferable[] = []): void {
        this.worker?.postMessage(order, transfer);
    }

    /** Opens what the address says, unless that is what is open. */
    follow(raw: string | null): void {
        const wanted = raw === null ? null : strip(raw);
        if (this.frame && (wanted === null || wanted === this.written)) {
            if (wanted === null) this.writeAddress();
            return;
        }
        if (wanted !== null && wanted === this.written) return;
        this.written = wanted;
        void this.open(wanted ?? '');
    }

    async open(text: string): Promise<void> {
        this.pause();
        const seeded = /(^|&)seed=[^&]*[^&\s]/.test(text) ? text : `${text}${text ? '&' : ''}seed=${Math.random().toFixed(5)}`;
        try {
            await this.start();
            undo.clear();
            this.ownName = '';
            this.send({ kind: 'open', module: await engineModule(), address: seeded });
            this.send({ kind: 'thumbnails' });
        } catch (e) {
            this.failure = e instanceof Error ? e.message : String(e);
        }
    }

    private start(): Promise<void> {
        this.opening ??= engineModule().then(() => {
            this.worker = new NetWorker();
            this.worker.onmessage = (e: MessageEvent<Answer>) => this.hear(e.data);
            this.worker.onerror = (e) => (this.failure = e.message || 'the worker stopped');
        });
        this.opening.catch(() => (this.opening = null));
        return this.opening;
    }

    private hear(answer: Answer): void {
        switch (answer.kind) {
            case 'frame':
                this.take(answer);
                break;
            case 'thumbnails':
                this.thumbnails = answer.sets;
                break;
            case 'saved':
                this.savers.shift()?.(answer.saved);
                break;
            case 'looked':
                this.lookers.get(answer.id)?.(answer);
                this.lookers.delete(answer.id);
                break;
            case 'failed':
                this.failure = answer.text;
                break;
        }
    }

    private take(frame: Frame): void {
        /* What was asked for meanwhile is newer than what this frame tells. */
        const current = frame.state !== undefined && frame.count === this.count;
        if (current) this.state = readState(frame.state!);
        if (frame.points) this.points = frame.points;
        if (frame.epochs > 0 && this.touched.size > 0) this.touched = new Set();
        if (frame.fresh) {
            this.curveN = 0;
            this.every = 1;
            this.low = Infinity;
            this.high = -Infinity;
            this.trainSeconds = 0;
            this.touched = new Set();
        }
        this.trainSeconds += frame.seconds;
        this.frame = frame;
        this.remember(frame);
        if (current) this.writeAddress();
        const now = performance.now();
        this.ticks.push({ at: now, epochs: frame.epochs });
        while (this.ticks.length > 2 && now - this.ticks[0].at > 1000) this.ticks.shift();
        const span = now - this.ticks[0].at;
        this.rate = this.playing && span > 200 ? (1000 * this.ticks.slice(1).reduce((n, t) => n + t.epochs, 0)) / span : 0;
        /* The frame is drawn with the next picture of the screen; then the worker may make another. */
        requestAnimationFrame(() => this.send({ kind: 'drawn' }));
    }

    private remember(frame: Frame): void {
        for (const x of [frame.train, frame.test]) {
            if (x < this.low) this.low = x;
            if (x > this.high) this.high = x;
        }
        let n = this.curveN;
        if (n > 0 && this.curveEpochs[n - 1] >= frame.epoch) {
            n--; /* an edit, not an epoch */
        } else if (n > 1 && frame.epoch - this.curveEpochs[n - 2] < this.every) {
            n--;
        } else if (n === CURVE) {
            for (let i = 0; i < CURVE / 2; i++) {
                this.curveEpochs[i] = this.curveEpochs[2 * i];
                this.curveTrain[i] = this.curveTrain[2 * i];
                this.curveTest[i] = this.curveTest[2 * i];
            }
            n = CURVE / 2;
            this.every = (2 * (this.curveEpochs[n - 1] - this.curveEpochs[0])) / n;
        }
        this.curveEpochs[n] = frame.epoch;
        this.curveTrain[n] = frame.train;
        this.curveTest[n] = frame.test;
        this.curveN = n + 1;
    }

    private writeAddress(): void {
        if (!this.state) return;
        const text = [...this.state.text].map(([name, value]) => `${name}=${value}`).join('&');
        const extra = kept(address.raw ?? '');
        this.written = text;
        const all = extra ? `${text}&${extra}` : text;
        if (address.raw !== all) address.setRaw(all);
    }

    /** The link of the net as it stands, with some names changed. */
    link(changes: Record<string, string | number | boolean | null>): string {
        return this.state ? changed(this.state, changes) : '';
    }

    /* ---- what a reader does ---- */

    change(what: string, changes: Record<string, string | number | boolean | null>): void {
        if (!this.state) return;
        const before = changed(this.state, {}),
            after = changed(this.state, changes);
        if (before === after) return;
        this.failure = null;
        const to = (text: string): void => {
            /* What is pulled answers at once. */
            this.state = readState(text);
            this.send({ kind: 'change', address: text, count: ++this.count });
        };
        undo.did({ what, undo: () => to(before), redo: () => to(after) });
        to(after);
    }

    play(): void {
        this.ticks = [];
        this.playing = true;
        this.send({ kind: 'play', playing: true });
    }
    pause(): void {
        this.playing = false;
        this.rate = 0;
        this.send({ kind: 'play', playing: false });
    }
    step(): void {
        this.playing = false;
        this.rate = 0;
        this.send({ kind: 'step' });
    }
    reset(): void {
        this.pause();
        this.send({ kind: 'reset' });
    }
    setPace(pace: number): void {
        this.pace = pace;
        this.send({ kind: 'pace', pace });
    }
    regenerate(): void {
        this.send({ kind: 'regenerate' });
        this.ownName = '';
    }

    setWeight(layer: number, unit: number, from: number, value: number): void {
        const before = this.frame?.layers[layer];
        if (!before || !Number.isFinite(value)) return;
        const old = before.weights[unit * before.from + from];
        const to = (v: number): void => {
            this.touched = new Set([...this.touched, `${layer}.${unit}.${from}`]);
            this.send({ kind: 'weight', layer, unit, from, value: v });
        };
        undo.did({ what: `weight ${old.toPrecision(2)} → ${value.toPrecision(2)}`, undo: () => to(old), redo: () => to(value), merge: `w${layer}.${unit}.${from}` });
        to(value);
    }
    setBias(layer: number, unit: number, value: number): void {
        const before = this.frame?.layers[layer];
        if (!before || !Number.isFinite(value)) return;
        const old = before.biases[unit];
        const to = (v: number): void => {
            this.touched = new Set([...this.touched, `${layer}.${unit}`]);
            this.send({ kind: 'bias', layer, unit, value: v });
        };
        undo.did({ what: `bias ${old.toPrecision(2)} → ${value.toPrecision(2)}`, undo: () => to(old), redo: () => to(value), merge: `b${layer}.${unit}` });
        to(value);
    }

    async own(file: File): Promise<void> {
        this.failure = null;
        if (file.size > 8e6) {
            this.failure = `${file.name}: ${(file.size / 1e6).toFixed(1)} MB; points from files of up to 8 MB can be read`;
            return;
        }
        const bytes = new Uint8Array(await file.arrayBuffer());
        this.pause();
        this.ownName = file.name;
        this.send({ kind: 'own', bytes, name: file.name, scale: true }, [bytes.buffer]);
    }

    async restore(file: File): Promise<void> {
        this.failure = null;
        if (file.size > 64e6) {
            this.failure = `${file.name} is too large for a saved net`;
            return;
        }
        const bytes = await file.arrayBuffer();
        this.pause();
        undo.clear();
        this.ownName = file.name;
        this.send({ kind: 'restore', bytes, name: file.name }, [bytes]);
    }

    /** A file of either kind, by what it holds. */
    async drop(file: File): Promise<void> {
        if (/\.(safetensors|json)$/i.test(file.name)) await this.restore(file);
        else await this.own(file);
    }

    saved(): Promise<Saved> {
        return new Promise((resolve) => {
            this.savers.push(resolve);
            this.send({ kind: 'save' });
        });
    }

    look(order: Omit<Extract<Order, { kind: 'look' }>, 'kind' | 'id'>): Promise<Extract<Answer, { kind: 'looked' }>> {
        const id = ++this.looks;
        return new Promise((resolve) => {
            this.lookers.set(id, resolve);
            this.send({ kind: 'look', id, ...order });
        });
    }
}

/* What stands in the address beside the state: the selection. */
const kept = (raw: string): string =>
    raw
        .split('&')
        .filter((pair) => pair.startsWith('sel='))
        .join('&');
const strip = (raw: string): string =>
    raw
        .split('&')
        .filter((pair) => !pair.startsWith('sel='))
        .join('&');

export const net = new NetClient();
export { sel };
