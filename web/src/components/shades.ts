/* Numbers as colours. A shade is a table of 256 colours between a low and a high number, packed as canvases store them, so
 * that a heat map is painted by looking up. Sequential ones begin at what the page lies on; diverging ones have zero in the
 * middle. All were drawn for people who see fewer colours too: lightness alone tells them apart. */
export type ShadeName = 'blue' | 'amber' | 'diverging';

type RGB = [number, number, number];
interface Stops {
    light: RGB[];
    dark: RGB[];
}

const stops: Record<ShadeName, Stops> = {
    blue: {
        light: [[246, 248, 250], [191, 219, 240], [107, 170, 218], [24, 112, 181], [8, 56, 112]],
        dark: [[24, 28, 32], [18, 58, 92], [22, 104, 163], [68, 160, 221], [196, 229, 252]],
    },
    amber: {
        light: [[247, 247, 246], [252, 222, 180], [243, 171, 87], [206, 107, 12], [117, 55, 3]],
        dark: [[24, 28, 32], [78, 47, 14], [150, 84, 12], [236, 145, 43], [255, 226, 182]],
    },
    diverging: {
        light: [[176, 88, 4], [245, 183, 107], [241, 242, 243], [120, 180, 222], [4, 90, 150]],
        dark: [[255, 178, 92], [166, 98, 28], [32, 37, 41], [34, 104, 156], [110, 192, 245]],
    },
};

export interface Shade {
    /** 256 colours, 0xAABBGGRR. */
    table: Uint32Array;
    /** The css colour of a place 0..1. */
    css: (t: number) => string;
}

const made = new Map<string, Shade>();

export function shade(name: ShadeName, dark: boolean): Shade {
    const key = `${name} ${dark}`;
    const had = made.get(key);
    if (had) return had;
    const list = stops[name][dark ? 'dark' : 'light'];
    const at = (t: number): RGB => {
        const x = Math.min(Math.max(t, 0), 1) * (list.length - 1),
            i = Math.min(Math.floor(x), list.length - 2),
            f = x - i;
        return [0, 1, 2].map((c) => Math.round(list[i][c] * (1 - f) + list[i + 1][c] * f)) as RGB;
    };
    const table = new Uint32Array(256);
    for (let i = 0; i < 256; i++) {
        const [r, g, b] = at(i / 255);
        table[i] = (255 << 24) | (b << 16) | (g << 8) | r;
    }
    const shade = { table, css: (t: number) => `rgb(${at(t).join(' ')})` };
    made.set(key, shade);
    return shade;
}

/** Ink that can be read on a colour of the shade: black or white, whichever stands out more, which is 4.58 : 1 at the least (WCAG 2.1,
    relative luminance and contrast ratio). */
export function inkOn(name: ShadeName, t: number, dark: boolean): string {
    const linear = (c: number): number => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = (/(\d+) (\d+) (\d+)/.exec(shade(name, dark).css(t)) ?? []).slice(1).map((c) => linear(Number(c) / 255));
    return (0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05) ** 2 > 1.05 * 0.05 ? '#000000' : '#ffffff';
}

/** From where to where numbers reach; diverging ones lie evenly about zero. NaN and infinities have no part in it. */
export function reach(values: ArrayLike<number>, diverging: boolean): [number, number] {
    let low = Infinity,
        high = -Infinity;
    for (let i = 0; i < values.length; i++) {
        const v = values[i];
        if (!Number.isFinite(v)) continue;
        if (v < low) low = v;
        if (v > high) high = v;
    }
    if (low > high) return [0, 1];
    if (diverging) {
        const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
        return [-most, most];
    }
    if (low > 0 && low < high / 4) low = 0;
    return low === high ? [Math.min(low, 0), high > 0 ? high : high + 1] : [low, high];
}

/** Three digits, as people want them in a cell. */
export function brief(x: number | null | undefined): string {
    if (x === null || x === undefined || Number.isNaN(x)) return '–';
    if (x === Infinity) return '∞';
    if (x === -Infinity) return '−∞';
    const a = Math.abs(x);
    const text = a === 0 ? '0' : a >= 1e5 || a < 1e-4 ? x.toExponential(1) : a >= 100 ? x.toFixed(0) : a >= 10 ? x.toFixed(1) : a >= 1 ? x.toFixed(2) : x.toFixed(3);
    return text.replace('-', '−');
}
