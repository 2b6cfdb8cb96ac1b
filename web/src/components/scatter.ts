/* What Scatter draws: series of points, in the coordinates of its domain. */
export interface ScatterSeries {
    /** For tips and selections: "real". */
    name: string;
    /** x and y, one after the other. */
    points: Float32Array;
    /** A name of theme.css, or one colour a point as bytes [n × 4]. */
    colour: string | Uint8Array;
    /** Diameter in pixels. */
    size?: number;
    opacity?: number;
    hidden?: boolean;
    /** Points move to new places over so many milliseconds, where as many were there before. */
    glide?: number;
    /** What the tip of a point says; absent: its coordinates. */
    tip?: (i: number) => string;
}

export interface Point {
    series: string;
    index: number;
    x: number;
    y: number;
}

/** x from, x to, y from, y to. y grows upwards. */
export type Domain = readonly [number, number, number, number];
export const UNIT: Domain = [0, 1, 0, 1];

/** Coordinates with two decimals, as the tip of a point has them. */
export const place = (x: number, y: number): string => `${x.toFixed(2)}, ${y.toFixed(2)}`;

/** Points by cells of a grid, to find the nearest one without looking at all. */
export class Nearest {
    private readonly cells = new Map<number, number[]>();
    private readonly points: Float32Array;
    private readonly side: number;

    constructor(points: Float32Array, side: number) {
        this.points = points;
        this.side = side;
        for (let i = 0; 2 * i < points.length; i++) {
            const key = this.key(Math.floor(points[2 * i] / side), Math.floor(points[2 * i + 1] / side));
            const list = this.cells.get(key);
            if (list) list.push(i);
            else this.cells.set(key, [i]);
        }
    }

    private key(a: number, b: number): number {
        return a * 100003 + b;
    }

    /** The index of the nearest point, or -1 where none is within one side. */
    find(x: number, y: number): { index: number; distance: number } {
        let best = this.side * this.side,
            index = -1;
        const a = Math.floor(x / this.side),
            b = Math.floor(y / this.side);
        for (let i = a - 1; i <= a + 1; i++)
            for (let j = b - 1; j <= b + 1; j++)
                for (const k of this.cells.get(this.key(i, j)) ?? []) {
                    const d = (this.points[2 * k] - x) ** 2 + (this.points[2 * k + 1] - y) ** 2;
                    if (d < best) {
                        best = d;
                        index = k;
                    }
                }
        return { index, distance: Math.sqrt(best) };
    }
}

/** Whether a point lies in a polygon of x and y, one after the other. */
export function inside(polygon: readonly number[], x: number, y: number): boolean {
    let odd = false;
    for (let i = 0, j = polygon.length - 2; i < polygon.length; j = i, i += 2) {
        const ax = polygon[i],
            ay = polygon[i + 1],
            bx = polygon[j],
            by = polygon[j + 1];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
    }
    return odd;
}

/** Offsets of the pixels of a disc: x and y, one after the other. */
export function discPixels(radius: number): Int8Array {
    const out: number[] = [],
        r = Math.ceil(radius);
    for (let y = -r; y <= r; y++) for (let x = -r; x <= r; x++) if (x * x + y * y <= radius * radius + 0.25) out.push(x, y);
    return Int8Array.from(out);
}

/** Puts discs into pixels, without smooth edges: for so many points that drawing each would take too long. `at` has x and y in pixels,
 * `inks` one colour or one a point. */
export function stamp(pixels: Uint32Array, width: number, height: number, at: Float32Array, n: number, disc: Int8Array, inks: Uint32Array): void {
    for (let i = 0; i < n; i++) {
        const x = Math.round(at[2 * i]),
            y = Math.round(at[2 * i + 1]),
            ink = inks[inks.length > 1 ? i : 0];
        for (let k = 0; k < disc.length; k += 2) {
            const a = x + disc[k],
                b = y + disc[k + 1];
            if (a >= 0 && a < width && b >= 0 && b < height) pixels[b * width + a] = ink;
        }
    }
}
