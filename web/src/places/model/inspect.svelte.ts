/* The state of Inspect ▸ model: what is asked, what was answered, and what of it is still true.
 *
 * One question is under way at a time; what changed meanwhile is asked next, so that a slider that is pulled always ends
 * with the answer to where it was let go. Runs are named by the server after what they are of, so whatever is read of a run
 * stays right as long as it is kept here. */
import { address, pack, unpack } from '../../address';
import { ApiError } from '../../api';
import { undo } from '../../state/undo.svelte';
import { sel } from '../../state/sel';
import { client, type Edit, type Heads, type Lens, type ModelSites, type Prompt, type Run } from './client';
import { describe, packEdits, parseEdits, toWire, type PageEdit, type Site } from './edits';

export const TABS = ['value', 'attention', 'lens', 'predictions', 'patch'] as const;
export type Tab = (typeof TABS)[number];
export const LAYER_MEASURES = ['resid', 'attn', 'mlp'] as const;
export type Which = 'plain' | 'edited' | 'change';

const examples: Record<string, string> = {
    text: 'Once upon a time, there was a little girl who wanted to play. Every day,',
    othello8: 'f5 d6 c3 d3 c4 f4 f6 f3 e6 e7',
    othello6: 'c2 b4 a5 d2 e3 f4 e4 b2',
    othello4: 'b1 a1',
    numbers: '1 2 3 4',
};
const contrasts: Record<string, string> = {
    text: 'Once upon a time, there was a little boy who wanted to play. Every day,',
    othello8: 'f5 d6 c3 d3 c4 f4 f6 f3 e6 c6',
    othello6: 'c2 b4 a5 d2 e3 f4 e4 d5',
};

/** A small cache: what was used least recently goes. */
class Kept<T> {
    private readonly map = new Map<string, T>();
    constructor(private readonly most: number) {}
    get(key: string): T | undefined {
        const had = this.map.get(key);
        if (had !== undefined) {
            this.map.delete(key);
            this.map.set(key, had);
        }
        return had;
    }
    set(key: string, value: T): void {
        this.map.delete(key);
        this.map.set(key, value);
        for (const old of this.map.keys()) {
            if (this.map.size <= this.most) break;
            this.map.delete(old);
        }
    }
}

const keptHeads = new Kept<Heads>(400);
const keptStrips = new Kept<Record<string, Float32Array>>(60);
const keptLenses = new Kept<Lens>(40);
const keptTokens = new Kept<number[]>(100);

export class Inspect {
    models: string[] = $state.raw([]);
    info: ModelSites | null = $state.raw(null);
    error: string | null = $state(null);

    /* ---- what is asked ---- */
    model = $state('');
    text = $state('');
    edits: PageEdit[] = $state.raw([]);
    other = $state('');
    track: { id: number; text: string }[] = $state.raw([]);

    /* ---- where one looks ---- */
    tab: Tab = $state('value');
    measure = $state('resid');
    which: Which = $state('plain');
    layer = $state(0);
    head = $state(0);
    position = $state(-1); /* below 0 from the end, until somebody chooses */
    site = $state('');
    unit: number | null = $state(null);

    /* ---- what was answered ---- */
    run: Run | null = $state.raw(null);
    private answered = $state('');
    /** What later readings are of: it waits until a slider rests. */
    settled: { plain: string; edited: string | null } | null = $state.raw(null);

    private busy = false;
    private resting: ReturnType<typeof setTimeout> | null = null;
    private closed = false;
    private opened = $state(false);

    readonly siteOf = $derived(new Map<string, Site>((this.info?.sites ?? []).map((s) => [s.name, s])));
    private readonly asked = $derived(JSON.stringify([this.model, this.text, this.wire, this.track.map((t) => t.id)]));
    /** The answer is to what is asked now. */
    readonly fresh = $derived(this.run !== null && this.answered === this.asked);
    readonly tokens = $derived(this.run?.tokens ?? []);
    readonly at = $derived(this.tokens.length === 0 ? 0 : this.position < 0 ? Math.max(0, this.tokens.length + this.position) : Math.min(this.position, this.tokens.length - 1));
    readonly hasEdits = $derived(this.edits.some((e) => e.on));
    /** The run that the strip, values and attention show. */
    readonly shown = $derived(this.settled ? (this.which !== 'plain' && this.settled.edited ? this.settled.edited : this.settled.plain) : null);
    readonly shownIsEdited = $derived(this.which !== 'plain' && this.settled?.edited != null);

    private get wire(): Edit[] {
        return this.edits.map((e) => toWire(e, this.siteOf.get(e.site))).filter((e): e is Edit => e !== null);
    }

    /* ---- opening ---- */

    async open(): Promise<void> {
        try {
            this.models = await client.models();
        } catch (e) {
            this.tell(e);
            return;
        }
        this.fromAddress();
    }

    close(): void {
        this.closed = true;
        if (this.resting) clearTimeout(this.resting);
    }

    private fromAddress(): void {
        const s = address.state;
        const model = this.models.includes(s['model'] ?? '') ? s['model'] : (this.models.find((m) => /stories/i.test(m)) ?? this.models.find((m) => /^othello/.test(m)) ?? this.models[0]);
        if (!model) return;
        const edits = parseEdits(unpack(s['e']));
        void this.load(model, { text: s['text'], edits, other: s['b'] }).then(() => {
            const tab = TABS.find((t) => t === s['tab']);
            if (tab) this.tab = tab;
            if (s['measure']) this.measure = s['measure'];
            if (s['which'] === 'edited' || s['which'] === 'change') this.which = s['which'];
            const number = (key: string, most: number): number | null => {
                const x = Number(s[key]);
                return s[key] !== undefined && Number.isInteger(x) && x >= -10000 && x <= most ? x : null;
            };
            this.layer = Math.max(0, number('layer', (this.info?.layers ?? 1) - 1) ?? this.layer);
            this.head = Math.max(0, number('head', (this.info?.heads ?? 1) - 1) ?? this.head);
            this.position = number('at', 1e6) ?? this.position;
            this.site = s['site'] && this.siteOf.has(s['site']) ? s['site'] : `blocks.${this.layer}.hook_resid_post`;
            this.unit = number('unit', 1e6);
            this.opened = true;
        });
    }

    async load(model: string, start: { text?: string; edits?: PageEdit[]; other?: string } = {}): Promise<void> {
        try {
            const info = await client.sites(model);
            const before = this.info?.prompt;
            this.run = null;
            this.settled = null;
            this.info = info;
            this.model = model;
            this.text = start.text ?? (before === info.prompt ? this.text : (examples[info.prompt] ?? ''));
            this.other = start.other ?? (before === info.prompt ? this.other : '');
            this.edits = start.edits ?? [];
            this.track = [];
            this.layer = Math.min(this.layer, info.layers - 1);
            this.head = Math.min(this.head, info.heads - 1);
            this.unit = null;
            this.site = `blocks.${this.layer}.hook_resid_post`;
            this.error = null;
        } catch (e) {
            this.tell(e);
        }
    }

    contrast(): string {
        const kind = this.info?.prompt ?? 'text';
        return this.text === examples[kind] ? (contrasts[kind] ?? this.text) : this.text;
    }

    /** What a reader would share. Called by an effect, so that every change arrives in the link. */
    toAddress(): void {
        if (!this.info || !this.opened) return;
        address.set({
            model: this.model,
            text: this.text,
            e: this.edits.length > 0 ? pack(packEdits(this.edits)) : null,
            b: this.other || null,
            tab: this.tab === 'value' ? null : this.tab,
            measure: this.measure === 'resid' ? null : this.measure,
            which: this.which === 'plain' ? null : this.which,
            layer: this.layer || null,
            head: this.head || null,
            at: this.position === -1 ? null : this.position,
            site: this.site === `blocks.${this.layer}.hook_resid_post` ? null : this.site,
            unit: this.unit,
        });
    }

    /* ---- choosing ---- */

    choose(layer: number, position: number, head?: number): void {
        this.layer = layer;
        this.position = position;
        this.unit = null;
        if (head !== undefined) {
            this.head = head;
            this.site = `blocks.${layer}.attn.hook_z`;
            sel.set('head', [`${layer}.${head}`], this.model);
        } else {
            const own = { resid: 'hook_resid_post', attn: 'hook_attn_out', mlp: 'hook_mlp_out' }[this.measure];
            const kind = own ?? this.site.replace(/^blocks\.\d+\./, '');
            const site = `blocks.${layer}.${kind}`;
            this.site = this.siteOf.has(site) ? site : `blocks.${layer}.hook_resid_post`;
            sel.set('token', [String(position)], this.model);
        }
    }

    /* ---- edits, with one undo stack ---- */

    change(edits: PageEdit[], what: string, merge?: string): void {
        const before = this.edits;
        this.edits = edits;
        if (this.which === 'plain' && edits.some((e) => e.on) && before.length === 0) this.which = 'edited';
        if (edits.length === 0) this.which = 'plain';
        undo.did({ what, undo: () => (this.edits = before), redo: () => (this.edits = edits), ...(merge ? { merge } : {}) });
    }
    add(e: PageEdit): void {
        this.change([...this.edits, e], describe(e));
    }
    set(i: number, changes: Partial<PageEdit>, merge?: string): void {
        const next = { ...this.edits[i], ...changes };
        this.change(
            this.edits.map((e, k) => (k === i ? next : e)),
            describe(next),
            merge,
        );
    }
    remove(i: number): void {
        this.change(
            this.edits.filter((_, k) => k !== i),
            `take away: ${describe(this.edits[i])}`,
        );
    }
    setText(text: string): void {
        const before = this.text;
        if (text === before) return;
        this.text = text;
        undo.did({ what: 'prompt', undo: () => (this.text = before), redo: () => (this.text = text), merge: 'prompt' });
    }

    /* ---- asking ---- */

    get prompt(): Prompt {
        return { text: this.text };
    }

    /** Edits as the server takes them; squares in prompts of edits become tokens first. */
    private async ready(edits: Edit[]): Promise<Edit[]> {
        if (this.info?.prompt === 'text') return edits;
        return Promise.all(
            edits.map(async (e) => {
                const value = e['value'] as { run?: { text?: string }; position?: number } | undefined;
                const text = value?.run?.text;
                if (text === undefined) return e;
                const key = `${this.model} ${text}`;
                let ids = keptTokens.get(key);
                if (!ids) {
                    ids = (await client.tokens(this.model, text)).map((t) => t.id);
                    keptTokens.set(key, ids);
                }
                return { ...e, value: { run: { tokens: ids }, position: value?.position } };
            }),
        );
    }

    /** Edits that are on, ready to be sent: for who writes text with them. */
    editsToSend(): Promise<Edit[]> {
        return this.ready(this.wire);
    }

    /** Called by an effect whenever what is asked has changed. */
    async ask(): Promise<void> {
        void this.asked;
        if (this.busy || !this.info || this.text.trim() === '') return;
        this.busy = true;
        try {
            while (!this.closed && this.info && this.answered !== this.asked && this.text.trim() !== '') {
                const asked = this.asked;
                try {
                    const edits = await this.ready(this.wire);
                    const track = this.track.map((t) => t.id);
                    const run = await client.run(this.model, {
                        prompt: this.prompt,
                        top: Math.min(10, this.info.vocabulary),
                        ...(edits.length > 0 ? { edits } : {}),
                        ...(track.length > 0 ? { track } : {}),
                    });
                    if (this.closed) return;
                    this.run = run;
                    this.error = null;
                    this.rest(run);
                } catch (e) {
                    this.tell(e);
                }
                this.answered = asked;
            }
        } finally {
            this.busy = false;
        }
    }

    /* What is read of the runs follows when the slider rests, or at once for the first. */
    private rest(run: Run): void {
        const next = { plain: run.run, edited: run.edited };
        if (this.settled?.plain === next.plain && this.settled.edited === next.edited) return;
        if (this.resting) clearTimeout(this.resting);
        if (!this.settled || !run.edited) this.settled = next;
        else this.resting = setTimeout(() => (this.settled = next), 160);
    }

    tell(e: unknown): void {
        if (e instanceof DOMException && e.name === 'AbortError') return;
        this.error = e instanceof Error ? e.message : String(e);
    }

    /** Reads of a run; when the server has let the run go meanwhile, the prompt is run again and the reading repeated. */
    async reading<T>(read: () => Promise<T>): Promise<T> {
        try {
            return await read();
        } catch (e) {
            if (!(e instanceof ApiError) || e.status !== 404 || !this.info) throw e;
            const edits = await this.editsToSend();
            await client.run(this.model, { prompt: this.prompt, top: 1, ...(edits.length > 0 ? { edits } : {}) });
            return read();
        }
    }

    async strip(run: string, against: string | null, signal: AbortSignal): Promise<Record<string, Float32Array>> {
        const key = `${this.model} ${run} ${against ?? ''}`;
        const had = keptStrips.get(key);
        if (had) return had;
        const got = await this.reading(() => client.strip(this.model, run, against, { signal }));
        keptStrips.set(key, got);
        return got;
    }

    async heads(run: string, layer: number, signal: AbortSignal): Promise<Heads> {
        const key = `${this.model} ${run} ${layer}`;
        const had = keptHeads.get(key);
        if (had) return had;
        const got = await this.reading(() => client.heads(this.model, run, layer, { signal }));
        keptHeads.set(key, got);
        return got;
    }

    async lens(run: string, first: number, n: number, token: string, signal: AbortSignal): Promise<Lens> {
        const key = `${this.model} ${run} ${first} ${n} ${token}`;
        const had = keptLenses.get(key);
        if (had) return had;
        const got = await this.reading(() => client.lens(this.model, run, { first, n, top: 5, token }, { signal }));
        keptLenses.set(key, got);
        return got;
    }

    /* ---- reading answers ---- */

    textOf(id: number): string {
        return this.run?.texts[String(id)] ?? String(id);
    }

    /** Number i of a row at a position; NaN outside of what was asked. */
    per(row: number, what: 'loss' | 'rank' | 'entropy', position: number): number {
        const r = this.run;
        const i = position - (r?.first ?? 0);
        if (!r || row >= r.rows.length || i < 0 || i >= r.n) return NaN;
        return r.rows[row][what][i] ?? NaN;
    }

    guesses(row: number, position: number): { id: number; text: string; p: number; logit: number }[] {
        const r = this.run;
        const i = position - (r?.first ?? 0);
        if (!r || row >= r.rows.length || i < 0 || i >= r.n) return [];
        return Array.from({ length: r.k }, (_, k) => {
            const at = i * r.k + k;
            const id = r.rows[row].ids[at];
            return { id, text: this.textOf(id), p: r.rows[row].p[at] ?? NaN, logit: r.rows[row].logits[at] ?? NaN };
        });
    }
}
