/* What this place asks the server for, and what comes back. */
import { api, type Options } from '../../api';
import type { Origin } from '../../origin';
import type { Token } from '../../components/Tokens.svelte';
import type { Site } from './edits';

export type Edit = Record<string, unknown>;
export type Prompt = { text: string } | { tokens: number[] };

export interface ModelSites {
    model: string;
    family: string;
    prompt: 'text' | 'othello4' | 'othello6' | 'othello8' | 'numbers';
    layers: number;
    heads: number;
    width: number;
    head_width: number;
    units: number;
    vocabulary: number;
    context: number;
    parameters: number;
    sites: Site[];
}

export interface PredictionRow {
    ids: number[]; /* [n, k] */
    p: (number | null)[];
    logits: (number | null)[];
    loss: (number | null)[]; /* [n] */
    rank: (number | null)[];
    entropy: (number | null)[];
    tracked_p: (number | null)[]; /* [n, tracked] */
    tracked_logits: (number | null)[];
}

export interface Run {
    origin: Origin;
    run: string;
    edited: string | null;
    tokens: Token[];
    first: number;
    n: number;
    k: number;
    rows: PredictionRow[];
    divergence: (number | null)[] | null;
    texts: Record<string, string>;
}

export interface Value {
    origin: Origin;
    site: string;
    axes: string;
    shape: number[];
    stats: { count: number; finite: number; least: number | null; greatest: number | null; mean: number | null; deviation: number | null; norm: number | null; bins: number[] };
    numbers: (number | null)[] | null;
}

export interface Lens {
    origin: Origin;
    first: number;
    n: number;
    k: number;
    wanted: number[];
    rows: { ids: number[]; p: (number | null)[]; wanted_p: (number | null)[]; wanted_logits: (number | null)[]; rank: (number | null)[]; entropy: (number | null)[] }[];
    texts: Record<string, string>;
}

export interface PatchLayer {
    origin: Origin;
    site: string;
    layer: number;
    positions: number;
    heads: number;
    base: number | null;
    source: number | null;
    effect: (number | null)[]; /* [positions, heads] */
    metric: (number | null)[];
    base_tokens: Token[];
    source_tokens: Token[];
}

export const MEASURES = ['entropy', 'most', 'self', 'previous', 'first', 'distance', 'out'] as const;
export type Measure = (typeof MEASURES)[number];
export interface Heads {
    measures: Record<Measure, Float32Array>; /* each [heads, positions] */
    side: number;
    thumb: Float32Array; /* [heads, side, side] */
}

const f32 = (t: { data: ArrayLike<number | bigint> } | undefined): Float32Array => {
    if (!t) throw new Error('the server left a tensor out');
    return t.data instanceof Float32Array ? t.data : Float32Array.from(t.data as ArrayLike<number>);
};
const at = (model: string): string => `/api/v1/models/${encodeURIComponent(model)}`;
const npy = { Accept: 'application/x-npy' };

export const client = {
    async models(options?: Options): Promise<string[]> {
        const { models } = await api.get<{ models: { id: string; error?: string }[] }>('/api/v1/models', options);
        return models.filter((m) => m.error === undefined).map((m) => m.id);
    },
    async sites(model: string, options?: Options): Promise<ModelSites> {
        const [info, { names }] = await Promise.all([
            api.get<Omit<ModelSites, 'sites' | 'units'> & { id: string; hidden_width: number; error?: string }>(at(model), options),
            api.get<{ names: { name: string; dtype: string; axes: string; shape: (number | string)[] }[] }>(`${at(model)}/names`, options),
        ]);
        if (info.error !== undefined) throw new Error(info.error);
        /* Values of a run have rows first; without the row they are what is read here. */
        const sites = names.filter((n) => n.axes.startsWith('b') && /^(f|bf)/.test(n.dtype)).map((n) => ({ name: n.name, axes: n.axes.slice(1), shape: n.shape.slice(1) }));
        return { ...info, model: info.id, units: info.hidden_width, sites };
    },
    async tokens(model: string, text: string, options?: Options): Promise<Token[]> {
        const t = await api.post<{ tokens: number[]; texts: string[] }>(`${at(model)}/tokenize`, { text }, options);
        return t.tokens.map((id, i) => ({ id, text: t.texts[i] }));
    },
    run: (model: string, body: { prompt: Prompt; edits?: Edit[]; first?: number; n?: number; top?: number; track?: number[] }, options?: Options): Promise<Run> =>
        api.post(`${at(model)}/run`, body, options),
    value: (model: string, run: string, site: string, part?: string, options: Options = {}): Promise<Value> =>
        api.get(`${at(model)}/runs/${run}/value`, { ...options, query: { site, part } }),
    async tensor(model: string, run: string, site: string, part?: string, options: Options = {}): Promise<{ shape: number[]; data: Float32Array }> {
        const { tensors } = await api.tensors(`${at(model)}/runs/${run}/tensor`, undefined, { ...options, headers: npy, query: { site, part } });
        const t = [...tensors.values()][0];
        return { shape: t.shape, data: f32(t) };
    },
    async strip(model: string, run: string, against: string | null, options: Options = {}): Promise<Record<string, Float32Array>> {
        const { tensors } = await api.tensors(`${at(model)}/runs/${run}/strip`, undefined, { ...options, query: { against: against ?? undefined } });
        return Object.fromEntries([...tensors].map(([name, t]) => [name, f32(t)]));
    },
    async heads(model: string, run: string, layer: number, options: Options = {}): Promise<Heads> {
        const { tensors } = await api.tensors(`${at(model)}/runs/${run}/heads`, undefined, { ...options, query: { layer } });
        const measures = Object.fromEntries(MEASURES.map((m) => [m, f32(tensors.get(m))])) as Record<Measure, Float32Array>;
        return { measures, side: tensors.get('thumb')?.shape[1] ?? 0, thumb: f32(tensors.get('thumb')) };
    },
    async tile(model: string, run: string, layer: number, head: number, query: { level: number; row: number; column: number; how: 'most' | 'mean' }, options: Options = {}): Promise<Float32Array> {
        const { tensors } = await api.tensors(`${at(model)}/runs/${run}/attention/${layer}/${head}`, undefined, { ...options, headers: npy, query });
        return f32([...tensors.values()][0]);
    },
    lens: (model: string, run: string, query: { first: number; n: number; top: number; token: string }, options: Options = {}): Promise<Lens> =>
        api.get(`${at(model)}/runs/${run}/lens`, { ...options, query }),
    patch: (
        model: string,
        body: { base: Prompt; source: Prompt; site: string; layer: number; metric: { kind: string; token: number; other?: number; position?: number } },
        options?: Options,
    ): Promise<PatchLayer> => api.post(`${at(model)}/patch`, body, options),
};
