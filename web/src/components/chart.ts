/* What Chart draws: series as plain numbers. Arrays may be typed, longer than `n`, and written in place; then Chart's `version`
 * says that they changed. */
export interface LineSeries {
    kind: 'line';
    /** Levels between the values, instead of slopes. */
    step?: boolean;
    name: string;
    y: ArrayLike<number>;
    /** Absent: 0, 1, 2, ... */
    x?: ArrayLike<number>;
    /** How many of the numbers are there; absent: all. */
    n?: number;
    low?: ArrayLike<number>;
    high?: ArrayLike<number>;
    colour?: string; /* a name of theme.css: "blue", "series-2" */
    dashed?: boolean;
    dots?: boolean;
}
export interface BarSeries {
    kind: 'bar';
    name: string;
    labels: readonly string[];
    values: readonly number[];
    low?: readonly (number | null)[];
    high?: readonly (number | null)[];
    colour?: string;
    /** One colour a bar. */
    colours?: readonly string[];
}
export interface HistogramSeries {
    kind: 'histogram';
    name: string;
    edges: ArrayLike<number>; /* one more than counts */
    counts: ArrayLike<number>;
    colour?: string;
}
export interface BoxSeries {
    kind: 'box';
    name: string;
    boxes: readonly { label: string; low: number; q1: number; median: number; q3: number; high: number; outliers?: readonly number[] }[];
    colour?: string;
}
export type Series = LineSeries | BarSeries | HistogramSeries | BoxSeries;

export interface Rule {
    value: number;
    title?: string;
    colour?: string;
}

export interface Axis {
    title?: string;
    min?: number;
    max?: number;
    log?: boolean;
    /** A d3 format, ".2f" */
    format?: string;
}

/** Counts in n equal bins, for a histogram. */
export function bins(values: ArrayLike<number>, n = 40, low?: number, high?: number): { edges: Float64Array; counts: Float64Array } {
    let a = low ?? Infinity,
        b = high ?? -Infinity;
    for (let i = 0; i < values.length; i++) {
        if (low === undefined && values[i] < a) a = values[i];
        if (high === undefined && values[i] > b) b = values[i];
    }
    if (!(a < b)) {
        a = Number.isFinite(a) ? a - 0.5 : 0;
        b = a + 1;
    }
    const edges = Float64Array.from({ length: n + 1 }, (_, i) => a + ((b - a) * i) / n);
    const counts = new Float64Array(n);
    for (let i = 0; i < values.length; i++) {
        const at = Math.floor(((values[i] - a) / (b - a)) * n);
        if (values[i] >= a && values[i] <= b) counts[Math.min(at, n - 1)]++;
    }
    return { edges, counts };
}

/** Tukey's box: whiskers reach the last values within 1.5 interquartile ranges. */
export function box(label: string, values: readonly number[]): BoxSeries['boxes'][number] {
    const x = values.filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
    const q = (p: number): number => {
        const at = (x.length - 1) * p,
            i = Math.floor(at);
        return x.length === 0 ? NaN : x[i] + ((x[i + 1] ?? x[i]) - x[i]) * (at - i);
    };
    const q1 = q(0.25),
        q3 = q(0.75),
        reach = 1.5 * (q3 - q1);
    const inside = x.filter((v) => v >= q1 - reach && v <= q3 + reach);
    return { label, low: inside[0] ?? NaN, q1, median: q(0.5), q3, high: inside.at(-1) ?? NaN, outliers: x.filter((v) => v < q1 - reach || v > q3 + reach) };
}
