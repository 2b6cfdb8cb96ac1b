/* One undo stack for the whole page. A place tells what it did and how to take it back:
 *
 *     undo.did({ what: 'weight 2 → 3', undo: () => setWeight(before), redo: () => setWeight(after) });
 *
 * Changes that follow each other quickly and carry the same `merge` become one step, as while a slider is dragged. */
export interface Step {
    what: string;
    undo: () => void;
    redo: () => void;
    merge?: string;
}

const LIMIT = 200,
    MERGE_MS = 1000;

class Undo {
    private done: Step[] = $state.raw([]);
    private undone: Step[] = $state.raw([]);
    private at = 0;

    readonly next: string | null = $derived(this.done.at(-1)?.what ?? null);
    readonly nextRedo: string | null = $derived(this.undone.at(-1)?.what ?? null);

    did(step: Step): void {
        const last = this.done.at(-1),
            now = performance.now();
        if (last && step.merge && last.merge === step.merge && now - this.at < MERGE_MS)
            this.done = [...this.done.slice(0, -1), { ...step, undo: last.undo }];
        else this.done = [...this.done.slice(1 - LIMIT), step];
        this.undone = [];
        this.at = now;
    }

    undo(): boolean {
        const step = this.done.at(-1);
        if (!step) return false;
        this.done = this.done.slice(0, -1);
        this.undone = [...this.undone, step];
        this.at = 0;
        step.undo();
        return true;
    }

    redo(): boolean {
        const step = this.undone.at(-1);
        if (!step) return false;
        this.undone = this.undone.slice(0, -1);
        this.done = [...this.done, step];
        this.at = 0;
        step.redo();
        return true;
    }

    /** When a place closes: its steps mean nothing elsewhere. */
    clear(): void {
        this.done = [];
        this.undone = [];
    }
}

export const undo = new Undo();
