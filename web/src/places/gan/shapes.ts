/* The shapes in outline, for the buttons that choose them: where their samples lie, without noise. What is trained on is drawn by
 * the engine. */
import type { Shape } from '../../engine/gan';

/* Always the same numbers (mulberry32). */
function* chance(): Generator<number, never> {
    for (let state = 7; ; ) {
        state = (state + 0x6d2b79f5) | 0;
        let t = Math.imul(state ^ (state >>> 15), 1 | state);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        yield ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    }
}
const bell = (u: number, v: number): [number, number] => {
    const r = Math.sqrt(-2 * Math.log(1 - u));
    return [r * Math.cos(2 * Math.PI * v), r * Math.sin(2 * Math.PI * v)];
};

function make(shape: Shape): Float32Array {
    const out: number[] = [],
        u = chance();
    for (let i = 0; i < 160; i++) {
        const [a, b] = bell(u.next().value, u.next().value),
            r = (i + 0.5) / 160;
        if (shape === 'line') out.push(0.8 - 0.75 * r + 0.01 * a, 0.6 + 0.3 * r + 0.01 * b);
        else if (shape === 'ring') out.push(0.5 + 0.3 * Math.cos(2 * Math.PI * r) + 0.025 * a, 0.45 + 0.25 * Math.sin(2 * Math.PI * r) + 0.025 * b);
        else if (shape === 'gaussians') out.push(...(i % 2 ? [0.3 + 0.1 * a, 0.7 + 0.1 * b] : [0.7 + 0.05 * a, 0.4 + 0.2 * b]));
        else {
            const [x, y] = [
                [0.35, 0.75],
                [0.75, 0.6],
                [0.45, 0.35],
            ][i % 3];
            out.push(x + 0.025 * a, y + 0.025 * b);
        }
    }
    return Float32Array.from(out);
}

const made = new Map<Shape, Float32Array>();
export function sketchOf(shape: Shape): Float32Array {
    let points = made.get(shape);
    if (!points) made.set(shape, (points = make(shape)));
    return points;
}
