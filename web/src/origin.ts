/* Where a number came from. Every number that the page shows has one, and Badge says it in a word. */
export interface Origin {
    /** page: computed here, by the engine as WebAssembly.  server: by the program behind this page.  model: by a provider's model.
     *  file: read from a file that was imported.  report: from a committed report of a study. */
    where: 'page' | 'server' | 'model' | 'file' | 'report';
    backend?: string | null; /* "reference", "onednn" */
    model?: string; /* a model's or a file's name */
    seed?: number | string | null;
    seconds?: number; /* what it took */
    when?: Date | string | number;
    version?: string;
    [key: string]: unknown;
}

export function whereOf(origin: Origin): string {
    switch (origin.where) {
        case 'page':
            return 'page';
        case 'server':
            return origin.model ? origin.model : 'server';
        case 'model':
            return origin.model ?? 'model';
        case 'file':
            return origin.model ?? 'file';
        case 'report':
            return 'report';
    }
}

/** Time left, no more exact than it can be. */
export function left(seconds: number): string {
    const s = Math.max(1, Math.round(seconds));
    return s < 100 ? `${s} s left` : `${duration(s)} left`;
}

/** One sentence. */
export function describe(origin: Origin): string {
    const parts: string[] = [];
    switch (origin.where) {
        case 'page':
            parts.push('Computed in this page, by the engine as WebAssembly');
            break;
        case 'server':
            parts.push(origin.model ? `Computed by the server with ${origin.model}` : 'Computed by the server');
            break;
        case 'model':
            parts.push(`Answered by ${origin.model ?? 'an outside model'}`);
            break;
        case 'file':
            parts.push(`Read from ${origin.model ?? 'an imported file'}`);
            break;
        case 'report':
            parts.push(`From the committed report${origin.model ? ` ${origin.model}` : ''}`);
            break;
    }
    if (origin.backend) parts.push(`backend ${origin.backend}`);
    if (origin.seed !== undefined && origin.seed !== null) parts.push(`seed ${origin.seed}`);
    if (origin.seconds !== undefined) parts.push(`took ${duration(origin.seconds)}`);
    if (origin.when !== undefined) parts.push(timeOf(origin.when));
    return `${parts.join(', ')}.`;
}

export function duration(seconds: number): string {
    if (!(seconds >= 0)) return '–';
    if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
    if (seconds < 1) return `${(seconds * 1e3).toPrecision(3)} ms`;
    if (seconds < 100) return `${seconds.toPrecision(3)} s`;
    if (seconds < 6000) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
    return `${(seconds / 3600).toFixed(1)} h`;
}

export function timeOf(when: Date | string | number): string {
    const date = when instanceof Date ? when : new Date(typeof when === 'number' && when < 1e11 ? when * 1000 : when);
    return Number.isNaN(date.getTime()) ? String(when) : date.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}
