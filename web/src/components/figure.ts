/* A figure as reports and results hold it (include/sightglass/report.h), as what Chart, Scatter and HeatMap draw. */
import type { Axis, Series } from './chart';
import type { Domain, ScatterSeries } from './scatter';
import type { Matrix } from './HeatMap.svelte';

interface FigureAxis {
    label?: string | null;
    unit?: string | null;
    scale?: string;
}
export interface FigurePanel {
    title?: string | null;
    series?: { name: string; x: (number | null)[]; y: (number | null)[] }[];
    matrix?: (number | null)[][];
    row_at?: (number | null)[] | null;
    column_at?: (number | null)[] | null;
}
export interface FigureData {
    id: string;
    title: string;
    caption?: string | null;
    kind: 'lines' | 'points' | 'arrows' | 'matrix';
    x: FigureAxis;
    y: FigureAxis;
    value?: FigureAxis;
    names?: string[];
    panels: FigurePanel[];
}

/** Whether a value from a server or a file is a figure. */
export function isFigure(value: unknown): value is FigureData {
    const f = value as Partial<FigureData> | null;
    return typeof f === 'object' && f !== null && typeof f.title === 'string' && Array.isArray(f.panels) && ['lines', 'points', 'arrows', 'matrix'].includes(f.kind ?? '');
}

const n = (v: number | null): number => v ?? NaN;

export const axisOf = (a: FigureAxis): Axis => ({ title: `${a.label ?? ''}${a.unit ? ` (${a.unit})` : ''}`, log: a.scale === 'log' });

export const linesOf = (p: FigurePanel): Series[] => (p.series ?? []).map((s) => ({ kind: 'line', name: s.name, x: s.x.map(n), y: s.y.map(n), dots: s.x.length <= 60 }));

export function pointsOf(p: FigurePanel): { series: ScatterSeries[]; domain: Domain } {
    const all = (p.series ?? []).map((s) => ({ name: s.name, x: s.x.map(n), y: s.y.map(n) }));
    const x = all.flatMap((s) => s.x).filter(Number.isFinite),
        y = all.flatMap((s) => s.y).filter(Number.isFinite);
    const span = (v: number[]): [number, number] => {
        let low = Infinity,
            high = -Infinity;
        for (const a of v) {
            if (a < low) low = a;
            if (a > high) high = a;
        }
        if (!(low < high)) return [Number.isFinite(low) ? low - 1 : -1, Number.isFinite(low) ? low + 1 : 1];
        const pad = (high - low) * 0.05;
        return [low - pad, high + pad];
    };
    return {
        series: all.map((s, i) => ({
            name: s.name,
            points: Float32Array.from(s.x.flatMap((v, k) => [v, s.y[k]])),
            colour: `series-${(i % 6) + 1}`,
            size: s.x.length > 500 ? 4 : 7,
            opacity: 0.8,
            tip: (k: number) => `${s.name}: ${Number(s.x[k].toPrecision(4))}, ${Number(s.y[k].toPrecision(4))}`,
        })),
        domain: [...span(x), ...span(y)],
    };
}

export function matrixOf(p: FigurePanel): Matrix {
    const rows = p.matrix ?? [];
    const columns = rows[0]?.length ?? 0;
    return { rows: rows.length, columns, data: Float32Array.from(rows.flat().map(n)) };
}
