/* What Table shows, and the same as CSV. */
export interface Column {
    key: string;
    title: string;
    kind?: 'text' | 'number';
    /** Pixels; columns without a width share what is left. */
    width?: number;
    format?: (value: unknown, row: Record<string, unknown>) => string;
}

export function cellText(column: Column, row: Record<string, unknown>): string {
    const value = row[column.key];
    if (column.format) return column.format(value, row);
    if (value === null || value === undefined) return '';
    if (typeof value === 'number') return number(value);
    if (typeof value === 'object') return JSON.stringify(value);
    return String(value as string | boolean | bigint);
}

/** A number for reading: five significant digits, whole numbers whole. */
export function number(x: number): string {
    if (Number.isInteger(x) && Math.abs(x) < 1e15) return String(x);
    if (!Number.isFinite(x)) return Number.isNaN(x) ? 'NaN' : x > 0 ? '∞' : '−∞';
    const size = Math.abs(x);
    if (size !== 0 && (size < 1e-4 || size >= 1e7)) return x.toExponential(3).replace('-', '−').replace('e−', 'e−');
    return String(Number(x.toPrecision(5))).replace('-', '−');
}

export function csv(columns: readonly Column[], rows: readonly Record<string, unknown>[]): string {
    const cell = (value: unknown): string => {
        const text = value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value as string | number);
        return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    };
    const lines = [columns.map((c) => cell(c.title)), ...rows.map((row) => columns.map((c) => cell(row[c.key])))];
    return lines.map((line) => line.join(',')).join('\r\n') + '\r\n';
}
