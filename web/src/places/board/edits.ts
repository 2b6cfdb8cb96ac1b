/* Edits of the model's board, as they stand in a link:
 *
 *     7:d4w,a1e@2-6*0.5;9:c3b        after move 7 it is to believe d4 white and a1 empty, by layers 2 to 6, strength .5 */
import { squareName, squareOf } from '../../components/board';

/** Black, white, empty: as discs are written everywhere in the page. */
export type Disc = 'X' | 'O' | '.';

export interface How {
    first: number;
    last: number;
    strength: number;
}
export interface Place {
    ply: number;
    squares: ReadonlyMap<number, Disc>;
    how: How;
}

const letters: Record<string, Disc> = { b: 'X', w: 'O', e: '.' };
const letterOf: Record<Disc, string> = { X: 'b', O: 'w', '.': 'e' };
const words: Record<Disc, 'black' | 'white' | 'empty'> = { X: 'black', O: 'white', '.': 'empty' };

export const MOST_SQUARES = 16,
    MOST_PLACES = 16;

export const formatHow = (h: How): string => `${h.first}-${h.last}*${Number(h.strength.toFixed(3))}`;
export function parseHow(text: string | undefined, layers: number): How | null {
    const m = /^(\d{1,3})-(\d{1,3})\*(-?\d{1,3}(?:\.\d{1,6})?)$/.exec(text ?? '');
    if (!m) return null;
    const first = Number(m[1]),
        last = Number(m[2]);
    return first <= last && last < layers ? { first, last, strength: Number(m[3]) } : null;
}

/** What a link says that makes sense here; the rest of it is passed over. */
export function parseEdits(text: string | undefined, size: number, known: number, layers: number, usual: How): Place[] {
    const places = new Map<number, Place>();
    for (const part of (text ?? '').split(';')) {
        const m = /^(\d{1,3}):([a-h1-8bwe,]*)(?:@(.*))?$/.exec(part);
        const ply = Number(m?.[1]);
        if (!m || ply < 1 || ply > known || places.has(ply) || places.size >= MOST_PLACES) continue;
        const squares = new Map<number, Disc>();
        for (const word of m[2].split(',')) {
            const square = squareOf(size, word.slice(0, 2)),
                disc = letters[word.slice(2)];
            if (square >= 0 && disc && squares.size < MOST_SQUARES) squares.set(square, disc);
        }
        if (squares.size > 0) places.set(ply, { ply, squares, how: parseHow(m[3], layers) ?? usual });
    }
    return [...places.values()].sort((a, b) => a.ply - b.ply);
}

export function formatEdits(places: readonly Place[], size: number): string | null {
    const parts = places
        .filter((p) => p.squares.size > 0)
        .map((p) => `${p.ply}:${[...p.squares].map(([q, disc]) => squareName(size, q) + letterOf[disc]).join(',')}@${formatHow(p.how)}`);
    return parts.length > 0 ? parts.join(';') : null;
}

/** As the server takes them. */
export const forServer = (places: readonly Place[], size: number): unknown[] =>
    places.map((p) => ({
        ply: p.ply,
        squares: Object.fromEntries([...p.squares].map(([q, disc]) => [squareName(size, q), words[disc]])),
        first: p.how.first,
        last: p.how.last,
        strength: p.how.strength,
    }));
