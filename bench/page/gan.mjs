/* How fast Train ▸ GAN trains while it draws, in headless Chromium on the built page:
 *
 *     scripts/build-page && node bench/page/gan.mjs [SECONDS]
 *
 * Fresh weights of the usual settings (gaussians, 8 units, k 2 and 1). Iterations per second are counted by the engine's own
 * counter over wall-clock time, frames by requestAnimationFrame. Chromium draws with the processor, as it does by itself where there
 * is no graphics card. Prints JSON. */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { build, files, newPage, open, openBrowser } from '../../web/test/place.mjs';

const seconds = Number(process.argv[2] ?? 8);
const site = await files(join(build, 'page'));
const browser = await openBrowser();
const rows = [];
try {
    for (const speed of ['60 / s', '300 / s', 'flat out']) {
        const page = await newPage(browser, site);
        await open(page, site, '/train/gan?pre=0');
        await page.waitForFunction(() => /\d/.test(document.querySelector('[data-number="js"]')?.textContent ?? ''));
        await page.getByLabel('Speed').selectOption(speed);
        await page.getByRole('button', { name: 'Play' }).click();
        await page.waitForFunction(() => Number(document.querySelector('output.count').textContent.replace(',', '')) > 100);
        const row = await page.evaluate(
            (ms) =>
                new Promise((resolve) => {
                    const count = () => Number(document.querySelector('output.count').textContent.replace(',', ''));
                    const first = count(),
                        began = performance.now();
                    let frames = 0;
                    const frame = () => {
                        frames++;
                        const passed = performance.now() - began;
                        if (passed < ms) requestAnimationFrame(frame);
                        else resolve({ iterations_per_second: ((count() - first) / passed) * 1000, frames_per_second: (frames / passed) * 1000, seconds: passed / 1000 });
                    };
                    requestAnimationFrame(frame);
                }),
            seconds * 1000,
        );
        rows.push({ speed, ...row });
        await page.context().close();
    }
} finally {
    await browser.close();
    await site.stop();
}
console.log(JSON.stringify({ bench: 'gan page', cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, rows }, null, 1));
