/* What a certificate comes to, for a badge and a table. */
import type { Certificate, CertificateRow } from '../../api.types';

export interface Standing {
    kind: 'verified' | 'failed' | 'stale' | 'none';
    text: string;
    sentence: string;
}

const against = { golden: 'golden values', self: 'f64', model: 'another model' } as const;

/** The badge's words. A certificate that does not fit the model's files any more says nothing about it, whatever it found. */
export function standing(c: Certificate | null, error: string | null): Standing {
    if (error !== null) return { kind: 'none', text: 'certificate cannot be read', sentence: 'What lies in the certificate’s place cannot be read.' };
    if (c === null) return { kind: 'none', text: 'not verified', sentence: 'Nobody has verified this model here yet.' };
    if (c.stale) return { kind: 'stale', text: 'certificate is stale', sentence: 'Stale: the model’s files changed since this was found. Verify it again.' };
    if (!c.holds) {
        const failed = c.runs.filter((r) => !r.holds).length;
        return { kind: 'failed', text: 'verification failed', sentence: `Not every row holds: ${failed} of ${c.runs.length} runs ${failed === 1 ? 'fails' : 'fail'}.` };
    }
    return { kind: 'verified', text: `verified against ${against[c.against]}`, sentence: `Every row holds, in ${c.runs.length} ${c.runs.length === 1 ? 'run' : 'runs'}.` };
}

/** Of each kind of value ("blocks.*.hook_mlp_out") the layer furthest from its reference, and every one that fails. */
export function worstOfEachKind(rows: readonly CertificateRow[]): CertificateRow[] {
    const kind = (r: CertificateRow): string => r.site.replace(/\.\d+(?=\.)/g, '.*');
    const far = (r: CertificateRow): number => (r.bad > 0 || r.max_rel === null ? Infinity : r.max_rel);
    const worst = new Map<string, CertificateRow>();
    for (const r of rows) {
        const before = worst.get(kind(r));
        if (!before || far(r) > far(before)) worst.set(kind(r), r);
    }
    return rows.filter((r) => !r.holds || worst.get(kind(r)) === r);
}
