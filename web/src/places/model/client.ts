/* What this place asks the server for, and what comes back. */
import { api, type Options } from '../../api';
import type { Certificate, InspectLens, InspectRequest, InspectRun, InspectValue, ModelInfo, ModelInfos, ModelNames, PatchLayer, PatchRequest, TokenizeReply } from '../../api.types';
import type { Token } from '../../components/Tokens.svelte';
import type { Site } from './edits';

export type Edit = Record<string, unknown>;
export type Prompt = { text: string } | { tokens: number[] };

export interface ModelSites {
    model: string;
    prompt: 'text' | 'othello4' | 'othello6' | 'othello8' | 'numbers';
    layers: number;
    heads: number;
    width: number;
    units: number;
    vocabulary: number;
    context: number;
    parameters: number;
    sites: Site[];
    certificate: Certificate | null;
    certificateError: string | null;
}

export type { InspectLens as Lens, InspectRow as PredictionRow, InspectRun as Run, InspectValue as Value, PatchLayer } from '../../api.types';

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
        const { models } = await api.get<ModelInfos>('/api/v1/models', options);
        return models.filter((m) => m.error === undefined && m.prompt !== 'images').map((m) => m.id);
    },
    async sites(model: string, options?: Options): Promise<ModelSites> {
        const [info, { names }] = await Promise.all([
            api.get<ModelInfo>(at(model), options),
            api.get<ModelNames>(`${at(model)}/names`, options),
        ]);
        if (info.error !== undefined) throw new Error(info.error);
        /* Values of a run have rows first; without the row they are what is read here. */
        const sites = names.filter((n) => n.axes.startsWith('b') && /^(f|bf)/.test(n.dtype)).map((n) => ({ name: n.name, axes: n.axes.slice(1), shape: n.shape.slice(1) }));
        const known = (['text', 'othello4', 'othello6', 'othello8', 'numbers'] as const).find((k) => k === info.prompt);
        return {
            model: info.id,
            prompt: known ?? 'numbers',
            layers: info.layers ?? 0,
            heads: info.heads ?? 1,
            width: info.width ?? 0,
            units: info.hidden_width ?? 0,
            vocabulary: info.vocabulary ?? 0,
            context: info.context ?? 0,
            parameters: info.parameters ?? 0,
            sites,
            certificate: info.certificate ?? null,
            certificateError: info.certificate_error ?? null,
        };
    },
    async tokens(model: string, text: string, options?: Options): Promise<Token[]> {
        const t = await api.post<TokenizeReply>(`${at(model)}/tokenize`, { text }, options);
        return t.tokens.map((id, i) => ({ id, text: t.texts[i] }));
    },
    run: (model: string, body: InspectRequest, options?: Options): Promise<InspectRun> =>
        api.post(`${at(model)}/run`, body, options),
    value: (model: string, run: string, site: string, part?: string, options: Options = {}): Promise<InspectValue> =>
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
    lens: (model: string, run: string, query: { first: number; n: number; top: number; token: string }, options: Options = {}): Promise<InspectLens> =>
        api.get(`${at(model)}/runs/${run}/lens`, { ...options, query }),
    patch: (
        model: string,
        body: PatchRequest,
        options?: Options,
    ): Promise<PatchLayer> => api.post(`${at(model)}/patch`, body, options),
};
