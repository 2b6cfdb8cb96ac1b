/* What the drawers show. Places publish, drawers read.
 *
 *   Data   the table of what is selected           panels.data = { title, columns, rows }
 *   Why    the origin of the number under the cursor   <span {@attach why(() => origin)}>0.42</span> */
import type { Attachment } from 'svelte/attachments';
import type { Origin } from '../origin';
import type { Column } from '../components/table';

export type DrawerName = 'data' | 'jobs' | 'notes' | 'why';

export interface Data {
    title: string;
    columns: Column[];
    rows: readonly Record<string, unknown>[];
    origin?: Origin;
}

export interface Reason {
    what: string; /* "training loss" */
    value?: string; /* "0.0089" */
    how?: string; /* a sentence: how it was computed */
    origin: Origin;
}

class Panels {
    open: DrawerName | null = $state(null);
    data: Data | null = $state.raw(null);
    reason: Reason | null = $state.raw(null);

    toggle(name: DrawerName): void {
        this.open = this.open === name ? null : name;
    }
}

export const panels = new Panels();

/** Puts a number's reason into the Why drawer when the number is pointed at or focused. */
export function why(reason: () => Reason): Attachment<HTMLElement> {
    return (element) => {
        const show = (): void => {
            panels.reason = reason();
        };
        element.addEventListener('pointerenter', show);
        element.addEventListener('focusin', show);
        return () => {
            element.removeEventListener('pointerenter', show);
            element.removeEventListener('focusin', show);
        };
    };
}
