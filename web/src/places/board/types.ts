/* What the routes about boards take and give: src/serve/types.def. */
import type { Origin } from '../../origin';

export interface BoardLayer {
    layer: number;
    board: string;
    empty_mine_yours: number[][];
    wrong: string[];
    n_right: number;
    n_discs: number;
    n_discs_right: number;
}
export interface BoardBets {
    next: number[];
    none: number;
    legal_mass: number;
    n_legal: number;
    n_wrong: number;
    first: string;
    first_legal: boolean;
}
export interface BoardThought extends BoardBets {
    layers: BoardLayer[];
    attention?: number[][][];
}
export type Colour = 'black' | 'white';
export interface BoardReply {
    origin: Origin;
    size: number;
    plies: { square: string; by: Colour; turned: number; pass_after: boolean }[];
    ply: number;
    board: string;
    to_move: Colour | 'nobody';
    mine: Colour;
    discs: number[];
    legal: string[];
    wish: string;
    legal_wish: string[];
    before: BoardThought | null;
    after: BoardThought | null;
    unedited: BoardBets | null;
    controls: { n: number; legal_mass: number; n_wrong: number; next: number[] } | null;
    lengths: number[];
    reply: { best: string; drawn: string; first: string; first_legal: boolean; seed: number } | null;
}
export interface BoardSaliency {
    origin: Origin;
    size: number;
    ply: number;
    next: number[];
    discs: { square: string; next: number[] }[];
    lines: Record<string, string[]>;
}
export interface BoardGames {
    games: { label: string; moves: string; n: number; over: boolean; discs: number[] }[];
}
export interface BoardScore {
    sequences: number;
    positions: number;
    illegal_top: number;
    illegal_top_interval: number[];
    illegal_mass: number;
}
export interface BoardAbout {
    origin: Origin;
    size: number;
    n_layers: number;
    n_heads: number;
    width: number;
    n_parameters: number;
    best_layer: number | null;
    readers: {
        layer: number;
        site: string;
        kind: string;
        squares: number | null;
        discs: number | null;
        discs_controls: Record<string, number | null>;
        means: boolean;
        n_test: number;
        world?: string;
    }[];
    how: { strength: number; first: number; last: number };
    warnings: string[];
    score: { score: BoardScore; untrained?: BoardScore } | null;
}
