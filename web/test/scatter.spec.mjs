/* Scatter's WebGL: 200,000 points are drawn where they belong, in their colours, and glide; what is near is found among them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { build as bundle } from 'esbuild';
import { build, openBrowser, record, root } from './place.mjs';

let browser, code;
before(async () => {
    const made = await bundle({ entryPoints: [join(root, 'web/src/components/scatterGl.ts')], bundle: true, format: 'iife', globalName: 'scatterGl', write: false, logLevel: 'error' });
    code = made.outputFiles[0].text;
    /* WebGL in software, which browsers want to be asked for. */
    browser = await openBrowser(['--use-angle=swiftshader']);
});
after(() => browser?.close());

for (const n of [200_000])
    test(`${n} points by WebGL 2`, async (t) => {
        const page = await browser.newPage();
        await page.setContent('<canvas id="c" width="400" height="400"></canvas>');
        await page.addScriptTag({ content: code });
        const seen = await page.evaluate((n) => {
            const gl = globalThis.scatterGl.ScatterGl.on(document.getElementById('c'), true);
            if (!gl) return null;
            /* Two points that can be told apart, the rest in the lower half. */
            const to = new Float32Array(2 * n),
                from = new Float32Array(2 * n),
                colour = new Uint8Array(4 * n);
            for (let i = 0; i < n; i++) {
                to.set(i === 0 ? [0.25, 0.75] : i === 1 ? [0.75, 0.75] : [(i * 0.754877666) % 1, ((i * 0.569840296) % 1) / 2.5], 2 * i);
                from.set(i === 0 ? [0.25, 0.95] : [to[2 * i], to[2 * i + 1]], 2 * i);
                colour.set(i === 0 ? [255, 0, 0, 255] : i === 1 ? [0, 0, 255, 255] : [0, 128, 0, 255], 4 * i);
            }
            const c = document.getElementById('c').getContext('webgl2');
            const pixel = (x, y) => {
                const out = new Uint8Array(4);
                c.readPixels(Math.round(x * 400), Math.round(y * 400), 1, 1, c.RGBA, c.UNSIGNED_BYTE, out);
                return [...out];
            };
            const series = (t, ink = colour) => [{ from, to, colour: ink, radius: 2, opacity: 1, t }];
            const unit = [0, 1, 0, 1];
            const began = performance.now();
            gl.draw(series(1), unit, 400, 400);
            pixel(0.5, 0.5); /* waits for the picture */
            const ms = performance.now() - began;
            const end = [pixel(0.25, 0.75), pixel(0.75, 0.75), pixel(0.5, 0.2), pixel(0.5, 0.75)];
            gl.draw(series(0.5), unit, 400, 400);
            const half = [pixel(0.25, 0.85), pixel(0.25, 0.75)];
            gl.draw([{ from: to.slice(0, 4), to: to.slice(0, 4), colour: [1, 1, 0, 1], radius: 2, opacity: 1, t: 1 }], unit, 400, 400);
            const one = pixel(0.75, 0.75);
            gl.free();
            return { end, half, one, ms };
        }, n);
        if (!seen) return t.skip('this browser has no WebGL 2');
        assert.deepEqual(seen.end, [[255, 0, 0, 255], [0, 0, 255, 255], [0, 128, 0, 255], [0, 0, 0, 0]]);
        assert.deepEqual(seen.half, [[255, 0, 0, 255], [0, 0, 0, 0]]);
        assert.deepEqual(seen.one, [255, 255, 0, 255]);
        t.diagnostic(`a frame takes ${seen.ms.toFixed(0)} ms, all in software`);
        record(`scatter-${n}`, { frame_ms: seen.ms });
        await page.close();
    });

test('the nearest point is found among 200,000', async () => {
    const outfile = join(build, 'wasm/test/scatter.mjs');
    await bundle({ entryPoints: [join(root, 'web/src/components/scatter.ts')], bundle: true, format: 'esm', outfile, logLevel: 'error' });
    const { discPixels, inside, Nearest, stamp } = await import(pathToFileURL(outfile).href);
    const n = 200_000,
        points = new Float32Array(2 * n);
    for (let i = 0; i < n; i++) points.set([(i * 0.754877666) % 1, (i * 0.569840296) % 1], 2 * i);
    const grid = new Nearest(points, 0.025);
    for (let k = 0; k < 50; k++) {
        const x = (k * 0.3819) % 1,
            y = (k * 0.7071) % 1;
        let best = -1,
            least = Infinity;
        for (let i = 0; i < n; i++) {
            const d = (points[2 * i] - x) ** 2 + (points[2 * i + 1] - y) ** 2;
            if (d < least) [best, least] = [i, d];
        }
        assert.equal(grid.find(x, y).index, best);
    }
    assert.equal(grid.find(3, 3).index, -1);
    /* Without a graphics card they are put into pixels. */
    const pixels = new Uint32Array(400 * 400),
        at = points.map((v) => v * 400),
        began = performance.now();
    stamp(pixels, 400, 400, at, 50_000, discPixels(2), Uint32Array.of(7));
    record('scatter-50000', { stamp_ms: performance.now() - began });
    for (let i = 0; i < 50_000; i += 997) {
        const [x, y] = [Math.round(at[2 * i]), Math.round(at[2 * i + 1])];
        if (x < 400 && y < 400) assert.equal(pixels[y * 400 + x], 7);
    }
    const one = new Uint32Array(100);
    stamp(one, 10, 10, Float32Array.of(5, 5, 0, 0), 2, discPixels(2), Uint32Array.of(1, 2));
    assert.deepEqual([one[55], one[53], one[52], one[0], one[2], one[99]], [1, 1, 0, 2, 2, 0]);
    const square = [0, 0, 1, 0, 1, 1, 0, 1];
    assert.ok(inside(square, 0.5, 0.5) && !inside(square, 1.5, 0.5) && !inside(square, -0.1, 0.5));
});
