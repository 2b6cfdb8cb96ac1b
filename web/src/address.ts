/* The address: route and compact state behind the #, so that a copied link brings the same view back.
 *
 *     #/inspect/model?model=othello8&text=c4,c3&sel=head:3.2      address.route, address.state
 *     #activation=relu&networkShape=4,2&seed=0.1                   a Playground link: Train ▸ net, address.raw
 *
 * A place reads `address.state` (reactive) and writes with `address.set`, which replaces the entry in the browser's history;
 * `address.go` makes a new one. Links are data: what they hold is checked by whoever reads it, and never run. */
import { createSubscriber } from 'svelte/reactivity';

export type State = Record<string, string>;

export interface Parts {
    route: string;
    state: State;
    /** The whole text behind the # where it is a Playground state; null elsewhere. */
    raw: string | null;
}

export const HOME = '/lab';
export const PLAYGROUND = '/train/net';

/* A browser takes these as they are behind a #, and a person can read them. */
const readable = /%(2C|3A|2F|5B|5D|7B|7D|28|29|40|24|3B|21|7C)/g;

/** A key or value as it stands in a link. */
export function escape(text: string): string {
    return encodeURIComponent(text)
        .replace(readable, (all) => decodeURIComponent(all))
        .replace(/%20/g, '+');
}

/** The text that escape() wrote; what is no such text comes back as it is. */
export function unescape(text: string): string {
    const spaced = text.replace(/\+/g, ' ');
    try {
        return decodeURIComponent(spaced);
    } catch {
        return spaced;
    }
}

export function parse(hash: string): Parts {
    const text = hash.replace(/^#/, '');
    if (text === '') return { route: HOME, state: {}, raw: null };
    if (!text.startsWith('/')) return { route: PLAYGROUND, state: pairs(text), raw: text };
    const cut = text.indexOf('?');
    const route = (cut < 0 ? text : text.slice(0, cut)).replace(/\/+$/, '') || HOME;
    return { route, state: cut < 0 ? {} : pairs(text.slice(cut + 1)), raw: null };
}

function pairs(text: string): State {
    const state: State = Object.create(null) as State;
    for (const pair of text.split('&')) {
        if (pair === '') continue;
        const at = pair.indexOf('=');
        const key = unescape(at < 0 ? pair : pair.slice(0, at));
        if (key !== '__proto__') state[key] = at < 0 ? '' : unescape(pair.slice(at + 1));
    }
    return state;
}

export function format(route: string, state: Readonly<State> = {}): string {
    const query = Object.entries(state)
        .map(([key, value]) => `${escape(key)}=${escape(value)}`)
        .join('&');
    return `#${route}${query ? `?${query}` : ''}`;
}

/** A value (numbers, texts, lists, objects) as a short text for a link, and back. unpack() gives undefined for what is none. */
export function pack(value: unknown): string {
    /* JSON's quotes would be escaped in links, apostrophes are not: they change places. */
    return JSON.stringify(value).replace(/["']/g, (c) => (c === '"' ? "'" : '"'));
}
export function unpack(text: string | undefined): unknown {
    if (text === undefined) return undefined;
    try {
        return JSON.parse(text.replace(/["']/g, (c) => (c === '"' ? "'" : '"'))) as unknown;
    } catch {
        return undefined;
    }
}

class Address {
    private parts: Parts = parse(location.hash);
    private changed: (() => void) | null = null;
    private readonly subscribe = createSubscriber((update) => {
        this.changed = update;
        return () => {
            this.changed = null;
        };
    });
    private waiting: ReturnType<typeof setTimeout> | null = null;
    private written = 0;

    constructor() {
        addEventListener('hashchange', () => this.read());
        addEventListener('popstate', () => this.read());
        addEventListener('pagehide', () => this.flush());
    }

    get route(): string {
        this.subscribe();
        return this.parts.route;
    }
    get state(): Readonly<State> {
        this.subscribe();
        return this.parts.state;
    }
    get raw(): string | null {
        this.subscribe();
        return this.parts.raw;
    }

    /** Changes some of the state, null and undefined take a key away. Does nothing once another place is open. */
    set(changes: Record<string, string | number | boolean | null | undefined>, route: string = this.parts.route): void {
        if (route !== this.parts.route) return;
        const state: State = { ...this.parts.state };
        for (const [key, value] of Object.entries(changes)) {
            if (value === null || value === undefined) delete state[key];
            else state[key] = String(value);
        }
        this.replace(format(route, state).slice(1));
    }

    /** Train ▸ net: its state is the whole text behind the #, so that links of the public Playground stay as they are. */
    setRaw(text: string): void {
        if (this.parts.route === PLAYGROUND) this.replace(text);
    }

    /** Opens another place, or this one in another state, as a new entry of the history. */
    go(route: string, state: Readonly<State> = {}): void {
        this.open(format(route, state));
    }
    /** As go(), with a whole link ("#/lab"). */
    open(hash: string): void {
        this.flush();
        const text = hash.replace(/^[^#]*#/, '');
        history.pushState(null, '', `#${text}`);
        this.read();
    }

    /** The link that brings this view back. */
    get link(): string {
        this.subscribe();
        this.flush();
        return location.href;
    }

    private read(): void {
        if (this.waiting) clearTimeout(this.waiting);
        this.waiting = null;
        this.parts = parse(location.hash);
        this.changed?.();
    }

    /* Browsers count calls of replaceState and refuse after some hundred in half a minute; a slider makes more. */
    private replace(text: string): void {
        this.parts = parse(text);
        this.pending = text;
        this.changed?.();
        const wait = 250 - (performance.now() - this.written);
        if (wait <= 0) this.flush();
        else this.waiting ??= setTimeout(() => this.flush(), wait);
    }
    private pending: string | null = null;
    private flush(): void {
        if (this.waiting) clearTimeout(this.waiting);
        this.waiting = null;
        if (this.pending === null) return;
        history.replaceState(null, '', `#${this.pending}`);
        this.pending = null;
        this.written = performance.now();
    }
}

export const address = new Address();
