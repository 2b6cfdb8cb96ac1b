/* What the controls have in common. */

/** How a value stands: computed, changed by the reader and not yet recomputed, or no longer true. */
export type Standing = 'plain' | 'computed' | 'changed' | 'stale';

export interface Choice<T extends string | number = string> {
    value: T;
    title: string;
    disabled?: boolean;
}

let count = 0;
/** A name for an element that others point at (label for, aria-describedby). */
export const uid = (what: string): string => `${what}-${++count}`;

export const clamp = (x: number, low: number, high: number): number => Math.min(high, Math.max(low, x));
