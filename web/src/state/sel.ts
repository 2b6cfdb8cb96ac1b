/* One selection, seen by every open panel and kept in the address: sel=head:3.2,3.4@othello8 */
import { address } from '../address';

export const KINDS = ['row', 'unit', 'edge', 'head', 'token', 'turn', 'response', 'program'] as const;
export type SelKind = (typeof KINDS)[number];

export interface Sel {
    kind: SelKind;
    ids: string[];
    /** What the ids are of: a model, a table; "" where there is only one. */
    source: string;
}

export function parseSel(text: string | undefined): Sel | null {
    const match = /^([a-z]+):([^@]*)(?:@(.*))?$/.exec(text ?? '');
    if (!match) return null;
    const kind = KINDS.find((k) => k === match[1]);
    const ids = match[2].split(',').filter((id) => id !== '');
    return kind && ids.length > 0 ? { kind, ids, source: match[3] ?? '' } : null;
}

export function formatSel(sel: Sel): string {
    return `${sel.kind}:${sel.ids.join(',')}${sel.source ? `@${sel.source}` : ''}`;
}

export const sel = {
    get current(): Sel | null {
        return parseSel(address.state['sel']);
    },
    has(kind: SelKind, id: string): boolean {
        const current = this.current;
        return current?.kind === kind && current.ids.includes(id);
    },
    set(kind: SelKind, ids: readonly string[], source = ''): void {
        const text = ids.length > 0 ? formatSel({ kind, ids: [...ids], source }) : null;
        /* In a Playground link the key stands among the others, where the public page ignores it. */
        if (address.raw !== null) {
            const rest = address.raw.split('&').filter((pair) => pair !== '' && !pair.startsWith('sel='));
            address.setRaw([...rest, ...(text ? [`sel=${text}`] : [])].join('&'));
        } else {
            address.set({ sel: text });
        }
    },
    clear(): void {
        this.set('row', []);
    },
};
