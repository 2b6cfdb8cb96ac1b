// node bench/net.mjs [--json FILE]: how fast the Playground is in the page, in headless Chromium.
//
// Raw: epochs per second of the default net in the engine, beside the same net as a plain loop in JavaScript (bench/page/plain.mjs)
// in the same browser, in turns. Drawn: epochs per second of Train ▸ net while every frame is drawn. Needs scripts/build-page.
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { build, files, newPage, openBrowser } = await import(pathToFileURL(join(root, 'web/test/place.mjs')).href);
const fromWeb = createRequire(join(root, 'web/package.json'));
const esbuild = fromWeb('esbuild');

const ROUNDS = 60,
    SECONDS = 0.004, // short enough that some rounds are not disturbed by other programs
    DRAWN_MS = 4000;
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const best = (list) => Math.max(...list);

const bundle = await esbuild.build({
    entryPoints: [join(root, 'bench/page/net.mjs')],
    bundle: true,
    format: 'iife',
    globalName: 'netBench',
    target: 'es2022',
    write: false,
    logLevel: 'error',
});
const site = await files(join(build, 'page'));
const browser = await openBrowser();
try {
    const page = await newPage(browser, site);
    await page.goto(`${site.base}theme.js`); // a page of this origin with nothing on it
    await page.addScriptTag({ content: bundle.outputFiles[0].text });
    const { rates } = await page.evaluate(
        async ([url, rounds, seconds]) => globalThis.netBench.compare(await (await fetch(url)).arrayBuffer(), rounds, seconds),
        [`${site.base}sightglass.wasm`, ROUNDS, SECONDS],
    );
    await page.context().close();

    const drawn = await newPage(browser, site);
    await drawn.goto(`${site.url}#seed=0.12345`);
    await drawn.locator('.net[data-ready="true"]').waitFor();
    await drawn.getByRole('button', { name: 'Play' }).click();
    await drawn.waitForFunction(() => Number(document.querySelector('.net').dataset.epoch) >= 10);
    const withDrawing = await drawn.evaluate(async (ms) => {
        const at = () => Number(document.querySelector('.net').dataset.epoch);
        const from = at(),
            began = performance.now();
        await new Promise((done) => setTimeout(done, ms));
        return (1000 * (at() - from)) / (performance.now() - began);
    }, DRAWN_MS);

    console.log(`Playground, default net, ${browser.version()}, medians of ${ROUNDS} rounds (best)\n`);
    console.log('                             epochs/s              of plain JavaScript');
    const row = (what, name, base) => {
        const r = rates[name];
        console.log(
            `${what.padEnd(26)} ${median(r).toFixed(0).padStart(8)} (${best(r).toFixed(0)})`.padEnd(50) +
                (base ? `${(median(r) / median(rates[base])).toFixed(1)} x (${(best(r) / best(rates[base])).toFixed(1)} x)` : ''),
        );
    };
    row('plain JavaScript', 'plain');
    row('engine', 'exact', 'plain');
    row('engine, quick arithmetic', 'quick', 'plain');
    row('with both losses: plain', 'plain_losses');
    row('  engine', 'exact_losses', 'plain_losses');
    row('  engine, quick', 'quick_losses', 'plain_losses');
    console.log(`\nwith drawing               ${withDrawing.toFixed(1)} epochs/s, one a frame`);
    const at = process.argv.indexOf('--json');
    if (at > 0) writeFileSync(process.argv[at + 1], `${JSON.stringify({ browser: browser.version(), rates, drawn: withDrawing }, null, 1)}\n`);
} finally {
    await browser.close();
    await site.stop();
}
