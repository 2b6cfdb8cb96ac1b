/* The server's jobs: what runs, how far it is, what came out. The list follows the server's events by itself. */
import { api, ApiError, events } from '../api';
import type { JobView } from '../components/job';
import type { Job as ServerJob, Jobs as ServerJobs } from '../api.types';
import { presence } from './presence.svelte';

export interface Job extends JobView {
    kind: string;
    spec: unknown;
    created: number;
}

class Jobs {
    list: Job[] = $state.raw([]);
    failure: string | null = $state(null);
    readonly running: number = $derived(this.list.filter((j) => busy(j)).length);

    constructor() {
        $effect.root(() => {
            $effect(() => {
                if (presence.here) void this.load();
            });
        });
    }

    async load(): Promise<void> {
        try {
            const { jobs } = await api.get<ServerJobs>('/api/v1/jobs');
            this.list = jobs.map(view);
            this.failure = null;
            this.follow();
        } catch (e) {
            /* A server without jobs is no failure of the reader's. */
            if (!(e instanceof ApiError && e.status === 404)) this.failure = words(e);
        }
    }

    /** Puts a job into the server's queue; what is wrong with it is thrown. */
    async start(kind: string, spec: unknown): Promise<Job> {
        const job = await api.post<ServerJob>('/api/v1/jobs', { kind, spec });
        this.put(job);
        this.follow();
        return view(job);
    }
    stop(id: string): Promise<void> {
        return this.ask(async () => this.put(await api.post<ServerJob>(`${at(id)}/stop`)));
    }
    resume(id: string): Promise<void> {
        return this.ask(async () => this.put(await api.post<ServerJob>(`${at(id)}/resume`)));
    }
    forget(id: string): Promise<void> {
        return this.ask(async () => {
            await api.delete(at(id));
            this.list = this.list.filter((j) => j.id !== id);
        });
    }
    one(id: string): Job | undefined {
        return this.list.find((j) => j.id === id);
    }
    async result<T>(id: string): Promise<T> {
        return (await api.get<ServerJob>(at(id))).result as T;
    }

    private async ask(what: () => Promise<void>): Promise<void> {
        try {
            await what();
            this.failure = null;
        } catch (e) {
            this.failure = words(e);
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
        events.on<{ job: string; done?: number; total?: number; eta?: number | null; phase?: string }>('job', (e) => {
            const old = this.one(e.data.job);
            if (e.type === 'job.progress' && old && busy(old)) {
                const { done = 0, total = 0, phase, eta } = e.data;
                const now: Job = { ...old, state: 'running', done: total > 0 ? done / total : null, phase: phase ?? old.phase, seconds_left: eta ?? null };
                this.list = this.list.map((j) => (j.id === old.id ? now : j));
            } else if (e.type !== 'job.progress') {
                void this.ask(async () => this.put(await api.get<ServerJob>(at(e.data.job))));
            }
        });
    }
}

export const busy = (j: JobView): boolean => j.state === 'running' || j.state === 'queued';
const at = (id: string): string => `/api/v1/jobs/${encodeURIComponent(id)}`;
const words = (e: unknown): string => (e instanceof Error ? e.message : String(e));

/* "study othello-linear, small", from what the job was asked. */
function title(job: ServerJob): string {
    const spec = (job.spec ?? {}) as Record<string, unknown>;
    if (job.kind === 'method') return [spec['method'], spec['action']].filter((v) => typeof v === 'string').join(' ');
    const of = [spec['study'], spec['recipe'], spec['model']].find((v) => typeof v === 'string') as string | undefined;
    return `${job.kind}${of ? ` ${of}` : ''}${job.kind === 'study' ? (spec['full'] === true ? ', full' : ', small') : ''}`;
}

function view(job: ServerJob): Job {
    return {
        id: job.id,
        kind: job.kind,
        spec: job.spec,
        title: title(job),
        state: job.state,
        done: job.total > 0 ? job.done / job.total : null,
        phase: job.phase || undefined,
        seconds_left: job.eta,
        created: job.created,
        started: job.started ?? undefined,
        ended: job.ended ?? undefined,
        error: job.error ?? undefined,
        origin: { ...job.origin, when: job.ended ?? undefined, seconds: job.started !== null && job.ended !== null ? job.ended - job.started : undefined },
        resumable: job.resumable,
    };
}

export const jobs = new Jobs();
