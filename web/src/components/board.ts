/* Squares of a board of Othello: 0 is a1, the upper left; players write the column, then the row. */

export const squareName = (size: number, square: number): string => String.fromCharCode(97 + (square % size)) + String(Math.floor(square / size) + 1);

/** -1 for what is no square of this board. */
export function squareOf(size: number, name: string): number {
    const column = name.charCodeAt(0) - 97,
        row = Number(name.slice(1)) - 1;
    return /^[a-h][1-8]$/.test(name) && column < size && row < size ? row * size + column : -1;
}

/** Where may be played: on the board, only with the edits, only without them. */
export type Mark = 'legal' | 'gained' | 'lost';

export const discName = (disc: string | undefined): string => (disc === 'X' ? 'black' : disc === 'O' ? 'white' : 'empty');
