/* The only file that asks the server for anything.
 *
 *     const { models } = await api.get<ModelList>('/api/v1/models');
 *     await api.post<RunReply>('/api/v1/models/othello8/run', { prompt, fetch: ['logits'] }, { signal });
 *     const { tensors } = await api.tensors('/api/v1/models/othello8/values', { names });
 *     for await (const e of api.stream('/v1/completions', { prompt, stream: true })) ...
 *     $effect(() => events.on('job', (e) => ...));
 *
 * The token is a cookie that the server set when the printed address was opened; nothing here sees it. In the build that
 * works from plain files there is no server, and everything here says so without asking. */
import { parseNpy, parseSafetensors, type Tensor } from './tensors';
import { routes, type Routes } from './api.types';
import { presence } from './state/presence.svelte';

/** A failure in words for people. `status` is the HTTP code, 0 where no answer came. */
export class ApiError extends Error {
    readonly status: number;
    readonly param: string | null;
    readonly code: string | null;

    constructor(message: string, status: number, param: string | null = null, code: string | null = null) {
        super(message);
        this.name = 'ApiError';
        this.status = status;
        this.param = param;
        this.code = code;
    }
}

export interface Options {
    query?: Record<string, string | number | boolean | undefined>;
    signal?: AbortSignal;
    headers?: Record<string, string>;
}

const NO_SERVER = 'This page has no server behind it. Start it with: sightglass serve';

function address(path: string, query: Options['query'] = {}): URL {
    const url = new URL(path.replace(/^\//, ''), document.baseURI);
    url.hash = '';
    for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, String(value));
    return url;
}

async function request(method: string, path: string, body: BodyInit | null, options: Options): Promise<Response> {
    if (__SITE__) throw new ApiError(NO_SERVER, 0);
    let response: Response;
    try {
        response = await fetch(address(path, options.query), {
            method,
            body,
            headers: options.headers ?? {},
            signal: options.signal ?? null,
            credentials: 'same-origin',
            cache: 'no-store',
        });
    } catch (e) {
        if (e instanceof DOMException && e.name === 'AbortError') throw e;
        presence.lost();
        throw new ApiError('The server does not answer. Does sightglass serve still run?', 0);
    }
    presence.seen(response.status);
    if (!response.ok) throw await refusal(response);
    return response;
}

async function refusal(response: Response): Promise<ApiError> {
    const fallback =
        response.status === 401
            ? 'The server does not know this page: open the whole address that sightglass serve printed, with its token.'
            : `The server answered ${response.status} ${response.statusText}`;
    try {
        const { error } = (await response.json()) as { error?: { message?: string; param?: string | null; code?: string | null } };
        return new ApiError(error?.message ?? fallback, response.status, error?.param ?? null, error?.code ?? null);
    } catch {
        return new ApiError(fallback, response.status);
    }
}

const json = { 'Content-Type': 'application/json' };

async function withBody<T>(method: string, path: string, body: unknown, options: Options): Promise<T> {
    const response = await request(method, path, JSON.stringify(body ?? {}), { ...options, headers: { ...json, ...options.headers } });
    return (await (response.status === 204 ? undefined : response.json())) as T;
}

/** A route of the server's table with its path's braces filled in, in order. */
function pathOf(route: keyof Routes, params: readonly string[]): string {
    let i = 0;
    return routes[route].path.replace(/\{[a-z_]+\}/g, () => encodeURIComponent(params[i++] ?? ''));
}

export const api = {
    /** Any route that answers in JSON, held to the types that the server checks: `ask('GET /api/v1/jobs/{job}', [id], null)`. */
    async ask<K extends keyof Routes>(route: K, params: Routes[K]['params'], body: Routes[K]['body'], options: Options = {}): Promise<Routes[K]['reply']> {
        const { method, reply } = routes[route];
        const bytes = body instanceof Blob || body instanceof ArrayBuffer;
        const response = await request(method, pathOf(route, params), bytes ? body : body === null ? null : JSON.stringify(body), {
            ...options,
            headers: { ...(body === null || bytes ? {} : json), ...options.headers },
        });
        return (reply === 'json' ? await response.json() : reply === 'none' ? null : response) as Routes[K]['reply'];
    },
    async get<T>(path: string, options: Options = {}): Promise<T> {
        return (await (await request('GET', path, null, options)).json()) as T;
    },
    async text(path: string, options: Options = {}): Promise<string> {
        return (await request('GET', path, null, options)).text();
    },
    post<T>(path: string, body?: unknown, options: Options = {}): Promise<T> {
        return withBody('POST', path, body, options);
    },
    put<T>(path: string, body?: unknown, options: Options = {}): Promise<T> {
        return withBody('PUT', path, body, options);
    },
    patch<T>(path: string, body?: unknown, options: Options = {}): Promise<T> {
        return withBody('PATCH', path, body, options);
    },
    async delete(path: string, options: Options = {}): Promise<void> {
        await request('DELETE', path, null, options);
    },

    /** Sends bytes (a file that was dropped), gets JSON. */
    async upload<T>(path: string, bytes: Blob | ArrayBuffer | Uint8Array<ArrayBuffer>, type = 'application/octet-stream', options: Options = {}): Promise<T> {
        const response = await request('POST', path, bytes, { ...options, headers: { 'Content-Type': type, ...options.headers } });
        return (await response.json()) as T;
    },

    /** Tensors: with a body it is a POST, else a GET. Safetensors or npy, whichever the server sends; an npy is named "". */
    async tensors(path: string, body?: unknown, options: Options = {}): Promise<{ tensors: Map<string, Tensor>; metadata: Record<string, string>; response: Response }> {
        const response =
            body === undefined
                ? await request('GET', path, null, options)
                : await request('POST', path, JSON.stringify(body), { ...options, headers: { ...json, ...options.headers } });
        const bytes = await response.arrayBuffer();
        if (response.headers.get('Content-Type')?.startsWith('application/x-npy'))
            return { tensors: new Map([['', parseNpy(bytes)]]), metadata: {}, response };
        return { ...parseSafetensors(bytes), response };
    },

    /** What the server answers with raw: to be saved as a file. */
    async blob(path: string, options: Options = {}): Promise<Blob> {
        return (await request('GET', path, null, options)).blob();
    },

    /** A streamed answer to a POST: its events one by one, until "[DONE]" or the end. Leave the loop to stop it. */
    async *stream<T>(path: string, body: unknown, options: Options = {}): AsyncGenerator<T, void, undefined> {
        const own = new AbortController();
        const abort = (): void => own.abort();
        options.signal?.addEventListener('abort', abort);
        if (options.signal?.aborted) own.abort();
        try {
            const response = await request('POST', path, JSON.stringify(body), {
                ...options,
                signal: own.signal,
                headers: { ...json, Accept: 'text/event-stream', ...options.headers },
            });
            for await (const message of messages(response)) {
                if (message.data === '[DONE]') return;
                const value = JSON.parse(message.data) as Awaited<T> & { error?: { message?: string; code?: string | null } };
                if (message.type === 'error' || (value && typeof value === 'object' && value.error))
                    throw new ApiError(value.error?.message ?? 'The server broke off', 200, null, value.error?.code ?? null);
                yield value;
            }
        } finally {
            options.signal?.removeEventListener('abort', abort);
            own.abort();
        }
    },
};

/* ---- server-sent events ---- */

export interface Message {
    id: string;
    type: string;
    data: string;
}

/** Reads a body of server-sent events. */
export async function* messages(response: Response): AsyncGenerator<Message, void, undefined> {
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    if (!reader) return;
    let text = '',
        id = '',
        type = '',
        data: string[] = [];
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            text += value;
            for (;;) {
                /* A line ends with \n, \r\n or \r; a \r at the end of what came may be half of \r\n. */
                const end = /\r\n|\n|\r(?!$)/.exec(text);
                if (!end) break;
                const line = text.slice(0, end.index);
                text = text.slice(end.index + end[0].length);
                if (line === '') {
                    if (data.length > 0) yield { id, type: type || 'message', data: data.join('\n') };
                    type = '';
                    data = [];
                    continue;
                }
                const cut = line.indexOf(':');
                const field = cut < 0 ? line : line.slice(0, cut);
                const content = cut < 0 ? '' : line.slice(cut + 1).replace(/^ /, '');
                if (field === 'data') data.push(content);
                else if (field === 'event') type = content;
                else if (field === 'id') id = content;
            }
        }
    } finally {
        void reader.cancel().catch(() => undefined);
    }
}

export interface ServerEvent<T = Record<string, unknown>> {
    id: string;
    type: string; /* "job.progress" */
    data: T;
}

type Listener = (event: ServerEvent<never>) => void;

/* One connection for all who listen. What was missed while it was broken is asked for with Last-Event-ID. */
class Events {
    private readonly listeners = new Map<string, Set<Listener>>();
    private stop: AbortController | null = null;
    private last = '';
    private topics = '';

    /** Calls `run` for each event of a topic ("job" for job.progress, job.done, ...) until what it returns is called. */
    on<T = Record<string, unknown>>(topic: string, run: (event: ServerEvent<T>) => void): () => void {
        const set = this.listeners.get(topic) ?? new Set();
        this.listeners.set(topic, set.add(run as Listener));
        this.connect();
        return () => {
            set.delete(run as Listener);
            if (set.size === 0) this.listeners.delete(topic);
            queueMicrotask(() => this.connect());
        };
    }

    private connect(): void {
        const topics = [...this.listeners.keys()].sort().join(',');
        if (topics === this.topics || __SITE__) return;
        this.topics = topics;
        this.stop?.abort();
        this.stop = null;
        if (topics === '') return;
        this.stop = new AbortController();
        void this.listen(topics, this.stop.signal);
    }

    private async listen(topics: string, signal: AbortSignal): Promise<void> {
        for (let wait = 500; !signal.aborted; wait = Math.min(wait * 2, 15000)) {
            try {
                const response = await request('GET', '/api/v1/events', null, {
                    query: { topics },
                    signal,
                    headers: { Accept: 'text/event-stream', ...(this.last ? { 'Last-Event-ID': this.last } : {}) },
                });
                for await (const message of messages(response)) {
                    wait = 250;
                    if (message.id) this.last = message.id;
                    this.tell(message);
                }
            } catch (e) {
                if (signal.aborted) return;
                /* Nobody lets us in, or there are no events here: asking again changes nothing. */
                if (e instanceof ApiError && e.status >= 400 && e.status < 500 && e.status !== 429) return;
            }
            await new Promise((resolve) => setTimeout(resolve, wait));
        }
    }

    private tell(message: Message): void {
        let data: unknown;
        try {
            data = JSON.parse(message.data);
        } catch {
            return;
        }
        const event = { id: message.id, type: message.type, data } as ServerEvent<never>;
        const topic = message.type.split('.')[0];
        for (const name of [topic, message.type, '*']) for (const run of this.listeners.get(name) ?? []) run(event);
    }
}

export const events = new Events();

/** Asks once whether a server is there; the badge and everything that needs one look at `presence`. */
export async function lookForServer(): Promise<void> {
    if (__SITE__) return;
    try {
        const health = await api.get<{ status: string; version?: string }>('/health');
        presence.version = health.version ?? '';
    } catch {
        /* presence knows */
    }
}
