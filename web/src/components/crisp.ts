/** Gives a canvas of `width` × `height` CSS pixels as many of its own as the screen has there, and says how many make one. Only a
    change of size empties it. */
export function crisp(canvas: HTMLCanvasElement, width: number, height: number): number {
    const ratio = devicePixelRatio || 1,
        w = Math.round(width * ratio),
        h = Math.round(height * ratio);
    if (canvas.width !== w || canvas.height !== h) {
        canvas.width = w;
        canvas.height = h;
    }
    return ratio;
}
