/* The server's jobs: what runs, how far it is, what came out. The list follows the server's events by itself. */
import { api, ApiError, events } from '../api';
import type { JobView } from '../components/JobCard.svelte';
import { presence } from './presence.svelte';

/* As the server tells it. */
export interface ServerJob {
    id: string;
    kind: string;
    title?: string;
    state: JobView['state'];
    done?: number;
    total?: number;
    phase?: string;
    seconds_left?: number | null;
    created?: number;
    started?: number;
    ended?: number;
    error?: string | null;
    spec?: unknown;
    result?: unknown;
    resumable?: boolean;
}

class Jobs {
    list: JobView[] = $state.raw([]);
    failure: string | null = $state(null);
    readonly running: number = $derived(this.list.filter((j) => j.state === 'running' || j.state === 'queued').length);

    constructor() {
        $effect.root(() => {
            $effect(() => {
                if (presence.here) void this.load();
            });
        });
    }

    async load(): Promise<void> {
        try {
            const { jobs } = await api.get<{ jobs: ServerJob[] }>('/api/v1/jobs');
            this.list = jobs.map(view);
            this.failure = null;
            this.follow();
        } catch (e) {
            /* A server without jobs is no failure of the reader's. */
            if (!(e instanceof ApiError && e.status === 404)) this.failure = e instanceof Error ? e.message : String(e);
        }
    }

    async start(kind: string, spec: unknown): Promise<string> {
        const job = await api.post<ServerJob>('/api/v1/jobs', { kind, spec });
        this.put(job);
        this.follow();
        return job.id;
    }
    async stop(id: string): Promise<void> {
        await this.try(() => api.post(`/api/v1/jobs/${encodeURIComponent(id)}/stop`));
    }
    async resume(id: string): Promise<void> {
        await this.try(() => api.post(`/api/v1/jobs/${encodeURIComponent(id)}/resume`));
    }
    one(id: string): JobView | undefined {
        return this.list.find((j) => j.id === id);
    }

    private async try(what: () => Promise<unknown>): Promise<void> {
        try {
            await what();
            this.failure = null;
        } catch (e) {
            this.failure = e instanceof Error ? e.message : String(e);
        }
    }
    private put(job: ServerJob): void {
        const known = this.list.some((j) => j.id === job.id);
        this.list = known ? this.list.map((j) => (j.id === job.id ? view(job) : j)) : [view(job), ...this.list];
    }
    private following = false;
    private follow(): void {
        if (this.following) return;
        this.following = true;
        events.on<{ job: string; done?: number; total?: number; eta?: number; seconds_left?: number; phase?: string }>('job', (e) => {
            const old = this.one(e.data.job);
            const what = e.type.split('.')[1];
            if (what === 'progress' && old) {
                const { done, total, phase } = e.data;
                const share = done === undefined ? old.done : total ? done / total : done;
                this.list = this.list.map((j) => (j.id === old.id ? { ...j, state: 'running', done: share, phase: phase ?? j.phase, seconds_left: e.data.seconds_left ?? e.data.eta ?? null } : j));
            } else {
                void this.refresh(e.data.job);
            }
        });
    }
    private async refresh(id: string): Promise<void> {
        await this.try(async () => this.put(await api.get<ServerJob>(`/api/v1/jobs/${encodeURIComponent(id)}`)));
    }
}

function view(job: ServerJob): JobView {
    return {
        id: job.id,
        title: job.title ?? job.kind,
        state: job.state,
        done: job.done === undefined ? null : job.total ? job.done / job.total : job.done,
        phase: job.phase,
        seconds_left: job.seconds_left ?? null,
        started: job.started,
        ended: job.ended,
        error: job.error ?? undefined,
        resumable: job.resumable,
    };
}

export const jobs = new Jobs();
