/* Colours for drawing on canvases: the theme's variables as texts and as numbers, and the two diverging scales. */
import { rgb } from 'd3-color';
import { theme } from '../state/theme.svelte';

let read: CSSStyleDeclaration | null = null;
let cache = new Map<string, string>();
let cachedFor = '';

/** A colour of theme.css: colour('blue'). Reading it inside an effect makes the effect run again when the light changes. */
export function colour(name: string): string {
    const light = String(theme.dark) + (document.documentElement.dataset['theme'] ?? '');
    if (light !== cachedFor) {
        cache = new Map();
        cachedFor = light;
    }
    let text = cache.get(name);
    if (text === undefined) {
        read ??= getComputedStyle(document.documentElement);
        text = read.getPropertyValue(`--${name}`).trim();
        cache.set(name, text);
    }
    return text;
}

export type Scale = 'playground' | 'page' | 'purple-green' | 'blue' | 'board';

const ends: Record<Scale, [string, string, string]> = {
    playground: ['below', 'zero', 'above'],
    page: ['below', 'zero-page', 'above'],
    'purple-green': ['purple', 'zero-page', 'green'],
    board: ['purple', 'felt', 'above'], /* over the felt of a board */
    blue: ['zero-page', 'zero-page', 'above'], /* for what is never below zero; value -1..0 is zero */
};

/** 256 colours from -1 to 1 as bytes [256 × 4]: `table[4 * i]` with i = scaleIndex(v). */
export function scaleTable(scale: Scale): Uint8ClampedArray {
    const key = `${scale} ${String(theme.dark)}`;
    let table = tables.get(key);
    if (!table) {
        const [low, mid, high] = ends[scale].map((name) => rgb(colour(name)));
        table = new Uint8ClampedArray(1024);
        for (let i = 0; i < 256; i++) {
            const v = (i - 127.5) / 127.5,
                end = v < 0 ? low : high,
                t = Math.abs(v);
            table.set([mid.r + (end.r - mid.r) * t, mid.g + (end.g - mid.g) * t, mid.b + (end.b - mid.b) * t, 255], 4 * i);
        }
        tables.set(key, table);
    }
    return table;
}
const tables = new Map<string, Uint8ClampedArray>();

export const scaleIndex = (v: number): number => (v <= -1 ? 0 : v >= 1 ? 255 : Math.round(v * 127.5 + 127.5));

/** One colour of a scale as CSS text, v in -1..1. */
export function scaleColour(scale: Scale, v: number): string {
    const table = scaleTable(scale),
        i = 4 * scaleIndex(v);
    return `rgb(${table[i]} ${table[i + 1]} ${table[i + 2]})`;
}
