/* Edits as the page has them: short enough for a link, and turned into those of the server's interface when they are sent.
 * One number of a value (a unit) is edited along a vector that is 1 there and 0 elsewhere. */
import type { Edit } from './client';

export const OPS = ['scale', 'ablate', 'add', 'set', 'clamp', 'mask'] as const;
export type Op = (typeof OPS)[number];

export interface PageEdit {
    site: string;
    op: Op;
    strength: number;
    on: boolean;
    heads?: number[];
    /** Below 0 from the prompt's end. None: all. */
    positions?: number[];
    unit?: number;
    /** add, set: the value at the same site in a run of this prompt, at this position. */
    from?: { text: string; position: number };
    /** clamp */
    low?: number;
    high?: number;
    /** mask: key positions that are not looked at. */
    keys?: number[];
}

export const opTitle: Record<Op, string> = {
    scale: 'scale',
    ablate: 'ablate',
    add: 'add from another prompt',
    set: 'put in from another prompt',
    clamp: 'hold between',
    mask: 'mask keys',
};

/** What strength does nothing, where it starts, and how far the slider reaches. */
export const opRange: Record<Op, { least: number; most: number; start: number; none: number; step: number; what: string }> = {
    scale: { least: -2, most: 4, start: 0.5, none: 1, step: 0.01, what: 'times' },
    ablate: { least: 0, most: 1, start: 1, none: 0, step: 0.01, what: 'how much is taken away' },
    add: { least: -4, most: 4, start: 1, none: 0, step: 0.01, what: 'times the value' },
    set: { least: 0, most: 1, start: 1, none: 0, step: 0.01, what: 'how much is put in' },
    clamp: { least: 0, most: 1, start: 1, none: 0, step: 0.01, what: 'how much it is held' },
    mask: { least: 0, most: 1, start: 1, none: 0, step: 1, what: '' },
};

export interface Site {
    name: string;
    axes: string;
    shape: (number | string)[];
}

/** Which ops make sense at a site. */
export function opsAt(site: Site): Op[] {
    if (/attn_scores$/.test(site.name)) return ['mask', 'scale'];
    if (site.axes.includes('s')) return ['scale', 'ablate', 'mask'];
    return ['scale', 'ablate', 'add', 'set', 'clamp'];
}

export function newEdit(site: Site, op: Op, more: Partial<PageEdit> = {}): PageEdit {
    return { site: site.name, op, strength: opRange[op].start, on: true, ...(op === 'mask' ? { keys: [0] } : {}), ...(op === 'clamp' ? { low: -1, high: 1 } : {}), ...more };
}

function oneHot(site: Site, unit: number): number[] {
    const width = Number(site.shape[site.shape.length - 1]);
    const v = new Array<number>(width).fill(0);
    v[Math.min(unit, width - 1)] = 1;
    return v;
}

/** As the server takes it; null: it is off, or not whole yet. */
export function toWire(e: PageEdit, site: Site | undefined): Edit | null {
    if (!e.on || !site) return null;
    const wire: Edit = { site: e.site, op: e.op, strength: e.strength };
    if (e.heads?.length && site.axes.includes('h')) wire['heads'] = e.heads;
    if (e.positions?.length) wire['positions'] = e.positions;
    const unit = e.unit !== undefined && !site.axes.includes('s') ? oneHot(site, e.unit) : null;
    switch (e.op) {
        case 'scale':
            return unit ? { ...wire, op: 'project', value: unit, strength: 1 - e.strength } : wire;
        case 'ablate':
            return unit ? { ...wire, op: 'project', value: unit } : wire;
        case 'clamp':
            return { ...wire, ...(unit ? { value: unit } : {}), low: e.low ?? -1, high: Math.max(e.high ?? 1, e.low ?? -1) };
        case 'mask':
            if (!e.keys?.length) return null;
            return { site: e.site, op: 'mask', keys: e.keys, ...(wire['heads'] ? { heads: e.heads } : {}), ...(wire['positions'] ? { positions: e.positions } : {}) };
        case 'add':
        case 'set':
            if (unit && e.op === 'add' && !e.from?.text) return { ...wire, value: unit };
            if (!e.from?.text.trim()) return null;
            return { ...wire, value: { run: fromPrompt(e.from.text), position: e.from.position } };
    }
}

/* Where the model has no tokenizer, prompts are numbers; squares become numbers before (see inspect.svelte.ts). */
function fromPrompt(text: string): { text: string } | { tokens: number[] } {
    return /^\s*\d+([\s,]+\d+)*\s*$/.test(text) && text.includes(' ') ? { tokens: text.trim().split(/[\s,]+/).map(Number) } : { text };
}

export function describe(e: PageEdit): string {
    const where = [
        e.heads?.length ? `head ${e.heads.join(', ')}` : '',
        e.unit !== undefined ? `unit ${e.unit}` : '',
        e.positions?.length ? `at ${e.positions.join(', ')}` : '',
        e.op === 'mask' && e.keys?.length ? `keys ${e.keys.join(', ')}` : '',
    ].filter((w) => w !== '');
    return `${e.op} ${e.site.replace('blocks.', '').replace('hook_', '')}${where.length ? ` (${where.join(', ')})` : ''}`;
}

/* ---- links: data that is checked ---- */

const number = (x: unknown): x is number => typeof x === 'number' && Number.isFinite(x);
const whole = (x: unknown): x is number => Number.isInteger(x);

function list(x: unknown): number[] | undefined {
    return Array.isArray(x) && x.length > 0 && x.length <= 1000 && x.every(whole) ? (x as number[]) : undefined;
}

export function parseEdits(data: unknown): PageEdit[] {
    if (!Array.isArray(data)) return [];
    const out: PageEdit[] = [];
    for (const d of data.slice(0, 64) as unknown[]) {
        if (typeof d !== 'object' || d === null) continue;
        const o = d as Record<string, unknown>;
        const op = OPS.find((k) => k === o['o']);
        if (typeof o['s'] !== 'string' || !op) continue;
        const from = o['f'];
        const e: PageEdit = { site: o['s'], op, strength: number(o['x']) ? o['x'] : opRange[op].start, on: o['off'] !== 1 };
        const heads = list(o['h']),
            positions = list(o['p']),
            keys = list(o['k']);
        if (heads) e.heads = heads;
        if (positions) e.positions = positions;
        if (keys) e.keys = keys;
        if (whole(o['u']) && o['u'] >= 0) e.unit = o['u'];
        if (number(o['l'])) e.low = o['l'];
        if (number(o['m'])) e.high = o['m'];
        if (Array.isArray(from) && typeof from[0] === 'string') e.from = { text: from[0], position: whole(from[1]) ? from[1] : -1 };
        out.push(e);
    }
    return out;
}

export function packEdits(edits: readonly PageEdit[]): unknown[] {
    return edits.map((e) => ({
        s: e.site,
        o: e.op,
        x: Number(e.strength.toPrecision(6)),
        ...(e.heads ? { h: e.heads } : {}),
        ...(e.positions ? { p: e.positions } : {}),
        ...(e.unit !== undefined ? { u: e.unit } : {}),
        ...(e.low !== undefined ? { l: e.low } : {}),
        ...(e.high !== undefined ? { m: e.high } : {}),
        ...(e.keys ? { k: e.keys } : {}),
        ...(e.from ? { f: [e.from.text, e.from.position] } : {}),
        ...(e.on ? {} : { off: 1 }),
    }));
}
