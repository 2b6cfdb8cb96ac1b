/* What JobCard shows. */
import type { Origin } from '../origin';

export interface JobView {
    id: string;
    title: string;
    state: 'queued' | 'running' | 'done' | 'failed' | 'stopped' | 'interrupted';
    /** 0..1; null where nobody can tell. */
    done: number | null;
    phase?: string;
    seconds_left?: number | null;
    started?: string | number;
    ended?: string | number;
    error?: string;
    origin?: Origin;
    resumable?: boolean;
}
