/* A game with a model looking on. What a link has to bring back is in the address; what the server makes of it is asked for whenever
 * that changes, one question at a time, the newest next. Answers are kept, so stepping through a game asks once for each position. */
import { address } from '../../address';
import { api, ApiError } from '../../api';
import type { BoardAbout, BoardEdits, BoardGames, BoardReply, BoardSaliency } from '../../api.types';
import { squareName, squareOf } from '../../components/board';
import { clamp } from '../../components/controls';
import { undo } from '../../state/undo.svelte';
import { forServer, formatEdits, formatHow, MOST_PLACES, MOST_SQUARES, parseEdits, parseHow, type Disc, type How, type Place } from './edits';

/* Random legal games, so that there is something to see at once. */
const openings: Record<number, string> = { 4: 'a2a3b4a1d3', 6: 'e4e5b3b4b5a4c5d2e3b2a2', 8: 'f5f6c4c5c6b5a6e3e6c3d3e7g7c7e8f3' };

export type Colour = BoardReply['mine'];

export interface Offer {
    id: string;
    size: number;
}

/** Keeps the last `most` values. */
class Kept<T> {
    private readonly map = new Map<string, T>();
    constructor(private readonly most: number) {}
    get(key: string): T | undefined {
        const value = this.map.get(key);
        if (value !== undefined) {
            this.map.delete(key);
            this.map.set(key, value);
        }
        return value;
    }
    put(key: string, value: T): void {
        this.map.set(key, value);
        if (this.map.size > this.most) this.map.delete(this.map.keys().next().value as string);
    }
}

/** Asks one thing at a time: while an answer is on its way only the newest question waits. */
class Asker<T> {
    private busy = false;
    private next: { key: string; run: () => Promise<T> } | null = null;
    private readonly kept: Kept<T>;
    private wanted = '';
    constructor(
        most: number,
        private readonly got: (key: string, value: T | null, failure: string | null) => void,
    ) {
        this.kept = new Kept(most);
    }
    ask(key: string, run: () => Promise<T>): void {
        this.wanted = key;
        const known = this.kept.get(key);
        if (known !== undefined) {
            this.next = null;
            this.got(key, known, null);
            return;
        }
        this.next = { key, run };
        void this.go();
    }
    drop(): void {
        this.wanted = '';
        this.next = null;
    }
    private async go(): Promise<void> {
        if (this.busy) return;
        this.busy = true;
        while (this.next) {
            const { key, run } = this.next;
            this.next = null;
            try {
                const value = await run();
                this.kept.put(key, value);
                /* On the way to what is wanted now, what came shows that something moves. */
                if (this.wanted !== '') this.got(key, value, null);
            } catch (e) {
                if (key === this.wanted) this.got(key, null, e instanceof Error ? e.message : String(e));
            }
        }
        this.busy = false;
    }
}

const KEYS = ['model', 'moves', 'ply', 'edits', 'how'] as const;

export class Game {
    offers: Offer[] | null = $state.raw(null);
    about: BoardAbout | null = $state.raw(null);
    private aboutOf = $state('');
    reply: BoardReply | null = $state.raw(null);
    private repliedTo = $state('');
    saliency: BoardSaliency | null = $state.raw(null);
    private salientFor = $state('');
    failure: string | null = $state(null);

    private readonly asker = new Asker<BoardReply>(300, (key, value, failure) => {
        this.failure = failure;
        if (!value) return;
        this.reply = value;
        this.repliedTo = key;
    });
    private readonly salient = new Asker<BoardSaliency>(60, (key, value) => {
        this.saliency = value;
        this.salientFor = value ? key : '';
    });

    /* ---- what the address says ---- */

    readonly model: string = $derived(this.offers?.some((o) => o.id === address.state['model']) ? (address.state['model'] ?? '') : (this.offers?.find((o) => o.size === 8)?.id ?? this.offers?.[0]?.id ?? ''));
    readonly size: number = $derived(this.offers?.find((o) => o.id === this.model)?.size ?? 8);
    readonly ready: boolean = $derived(this.about !== null && this.aboutOf === this.model);
    readonly layers: number = $derived(this.about?.n_layers ?? 1);
    readonly usual: How = $derived(this.about?.how ?? { first: 0, last: 0, strength: 0.5 });

    readonly moves: string = $derived.by(() => {
        const text = address.state['moves'];
        return text !== undefined && /^([a-h][1-8])*$/.test(text) && text.length <= 120 ? text : (openings[this.size] ?? '');
    });
    readonly known: number = $derived(this.moves.length / 2);
    readonly ply: number = $derived.by(() => {
        const text = address.state['ply'];
        return text !== undefined && /^\d{1,3}$/.test(text) ? clamp(Number(text), 0, this.known) : this.known;
    });
    readonly places: Place[] = $derived(parseEdits(address.state['edits'], this.size, this.known, this.layers, this.usual));
    readonly here: Place | null = $derived(this.places.find((p) => p.ply === this.ply) ?? null);
    readonly inPlace: Place[] = $derived(this.places.filter((p) => p.ply <= this.ply));
    readonly how: How = $derived(this.here?.how ?? parseHow(address.state['how'], this.layers) ?? this.usual);
    readonly layer: number = $derived.by(() => {
        const readers = this.about?.readers ?? [],
            wanted = address.state['layer'];
        return readers.find((r) => wanted !== undefined && String(r.layer) === wanted)?.layer ?? this.about?.best_layer ?? readers[0]?.layer ?? 0;
    });

    /* ---- what the server says to that ---- */

    readonly question: string = $derived(
        this.ready ? JSON.stringify([this.model, { moves: this.moves, ply: this.ply, edits: forServer(this.inPlace, this.size), attention: true }]) : '',
    );
    /** The answer is of what the address says now. */
    readonly current: boolean = $derived(this.question !== '' && this.repliedTo === this.question);
    readonly thought = $derived(this.reply ? (this.reply.after ?? this.reply.before) : null);
    readonly salientNow: BoardSaliency | null = $derived(this.salientFor === this.saliencyQuestion() ? this.saliency : null);

    async open(): Promise<void> {
        try {
            const { models } = await api.get<{ models: { id: string; prompt?: string }[] }>('/api/v1/models');
            this.offers = models.flatMap((m) => (m.prompt?.startsWith('othello') ? [{ id: m.id, size: Number(m.prompt.slice(7)) }] : []));
        } catch (e) {
            this.failure = e instanceof Error ? e.message : String(e);
        }
    }
    async meet(model: string): Promise<void> {
        if (model === '' || this.aboutOf === model) return;
        this.asker.drop();
        this.reply = null;
        try {
            const about = await api.get<BoardAbout>(`/api/v1/models/${encodeURIComponent(model)}/board`);
            if (model !== this.model) return;
            this.about = about;
            this.aboutOf = model;
            this.failure = null;
        } catch (e) {
            this.failure = e instanceof Error ? e.message : String(e);
        }
    }
    follow(question: string): void {
        if (question === '') return;
        const [model, body] = JSON.parse(question) as [string, unknown];
        this.asker.ask(question, () => api.post<BoardReply>(`/api/v1/models/${encodeURIComponent(model)}/board`, body));
    }
    private saliencyQuestion(): string {
        const turn = parseHow(address.state['how'], this.layers) ?? this.usual;
        return this.ready && this.ply > 0
            ? JSON.stringify([this.model, { moves: this.moves, ply: this.ply, edits: forServer(this.inPlace, this.size), first: turn.first, last: turn.last, strength: turn.strength }])
            : '';
    }
    /** Which discs each prediction rests on, for all of them at once. */
    explain(): void {
        const question = this.saliencyQuestion();
        if (question === '' || question === this.salientFor || !this.about?.readers.length) return;
        const [model, body] = JSON.parse(question) as [string, unknown];
        this.salient.ask(question, () => api.post<BoardSaliency>(`/api/v1/models/${encodeURIComponent(model)}/board/saliency`, body));
    }

    /* ---- what the reader does: each a step that can be taken back ---- */

    private change(what: string, changes: Partial<Record<(typeof KEYS)[number], string | number | null>>, merge?: string): void {
        const before = Object.fromEntries(KEYS.map((k) => [k, address.state[k] ?? null]));
        address.set(changes);
        const after = Object.fromEntries(KEYS.map((k) => [k, address.state[k] ?? null]));
        if (JSON.stringify(before) === JSON.stringify(after)) return;
        undo.did({ what, undo: () => address.set(before), redo: () => address.set(after), ...(merge ? { merge } : {}) });
    }

    choose(model: string): void {
        this.change(`model ${model}`, { model, moves: null, ply: null, edits: null, how: null });
    }
    /** Looks at the position after so many moves. */
    go(ply: number): void {
        const to = clamp(Math.round(ply), 0, this.known);
        address.set({ ply: to === this.known ? null : to });
    }
    load(moves: string, what: string): void {
        this.change(what, { moves, ply: null, edits: null });
    }
    play(name: string): void {
        if (!this.current || !this.reply?.legal.includes(name)) return;
        if (this.moves.slice(2 * this.ply, 2 * this.ply + 2) === name) {
            this.go(this.ply + 1);
            return;
        }
        const edits = formatEdits(this.inPlace, this.size);
        this.change(name, { moves: this.moves.slice(0, 2 * this.ply) + name, ply: null, edits });
    }
    private edit(what: string, squares: ReadonlyMap<number, Disc>, how: How, merge?: string): void {
        const others = this.places.filter((p) => p.ply !== this.ply);
        const places = [...others, { ply: this.ply, squares, how }].sort((a, b) => a.ply - b.ply);
        this.change(what, { edits: formatEdits(places, this.size) }, merge);
    }
    /** What is read of a square at the layer that is shown, without the edits of this position. */
    private unedited(square: number): Disc | null {
        const layer = this.reply?.before?.layers.find((l) => l.layer === this.layer);
        return (layer?.board[square] as Disc | undefined) ?? null;
    }
    /** Black, white, empty in turn, starting behind what is read; once around the square is left alone again. */
    turn(square: number): void {
        const read = this.unedited(square);
        if (this.ply === 0 || read === null || !this.current) return;
        const order: Disc[] = ['X', 'O', '.'];
        const now = this.here?.squares.get(square) ?? read;
        const to = order[(order.indexOf(now) + 1) % 3];
        this.set(square, to === read ? null : to);
    }
    set(square: number, disc: Disc | null): void {
        const squares = new Map(this.here?.squares);
        if (disc === null) squares.delete(square);
        else if (squares.has(square) || squares.size < MOST_SQUARES) squares.set(square, disc);
        if (!this.here && this.places.length >= MOST_PLACES) return;
        const name = squareName(this.size, square);
        this.edit(disc === null ? `${name} left alone` : `${name} ${disc === 'X' ? 'black' : disc === 'O' ? 'white' : 'empty'} in its mind`, squares, this.how);
    }
    clearHere(): void {
        this.edit('edits dropped', new Map(), this.how);
    }
    clearAll(): void {
        this.change('all edits dropped', { edits: null });
    }
    push(how: How): void {
        if (this.here) this.edit('how far it is moved', this.here.squares, how, `push ${this.ply}`);
        else this.change('how far it is moved', { how: formatHow(how) === formatHow(this.usual) ? null : formatHow(how) }, 'push');
    }

    /** The edits of this position as a file that `sightglass run` takes, and programs. */
    asData(): Promise<BoardEdits> {
        return api.post<BoardEdits>(`/api/v1/models/${encodeURIComponent(this.model)}/board/edits`, { moves: this.moves, ply: this.ply, edits: forServer(this.inPlace, this.size) });
    }

    /* ---- games ---- */

    async random(seed: number): Promise<void> {
        const { games } = await api.post<BoardGames>('/api/v1/board/games', { size: this.size, random: 1, seed, n_moves: Math.round(this.size * this.size * 0.3) });
        if (games[0]) this.load(games[0].moves, 'a random game');
    }
    read(text: string): Promise<BoardGames> {
        return api.post<BoardGames>('/api/v1/board/games', { size: this.size, text });
    }
    squares(names: readonly string[]): Set<number> {
        return new Set(names.map((n) => squareOf(this.size, n)).filter((q) => q >= 0));
    }
}

export const other = (c: Colour): Colour => (c === 'black' ? 'white' : 'black');
export const failed = (e: unknown): string => (e instanceof ApiError || e instanceof Error ? e.message : String(e));
