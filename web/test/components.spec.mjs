/* The shared components, on the page of test/gallery/. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { PATIENCE, accessible, build, files, fits, newPage, openBrowser, record, shoot } from './place.mjs';

const folder = join(build, 'gallery');
const long = { timeout: 3 * PATIENCE };
let browser, site;
before(
    async () => {
        assert.ok(existsSync(folder), 'npx vite build --mode gallery makes it');
        browser = await openBrowser();
        site = await files(folder);
    },
    { timeout: PATIENCE },
);
after(async () => {
    await browser?.close();
    await site?.stop();
});

const on = (run, options) => async (t) => {
    const page = await newPage(browser, site, options ?? {});
    try {
        await page.goto(`${site.base}test/gallery/index.html`);
        await page.getByRole('heading', { name: 'Components' }).waitFor();
        await run(page, t);
        assert.deepEqual(page.wrongs(), []);
    } finally {
        await page.context().close();
    }
};
const said = (page, what) => page.locator('[data-test="said"]', { hasText: new RegExp(`^${what}$`) }).waitFor();

for (const colorScheme of ['light', 'dark'])
    test(
        `they can be read and named, ${colorScheme}`,
        long,
        on(
            async (page) => {
                await fits(page);
                await accessible(page);
                await shoot(page, `components-${colorScheme}`);
            },
            { colorScheme, viewport: { width: 1280, height: 1500 } },
        ),
    );
test('they fit a phone', long, on(fits, { viewport: { width: 390, height: 844 } }));

test(
    'a menu opens, walks, skips what is off, chooses and closes by keys',
    long,
    on(async (page) => {
        await page.getByRole('button', { name: 'Examples' }).focus();
        await page.keyboard.press('ArrowDown');
        await page.keyboard.press('ArrowDown');
        await page.keyboard.press('Enter');
        await said(page, 'spiral');
        await page.keyboard.press('ArrowUp');
        assert.match(await page.evaluate(() => document.activeElement.textContent), /Shown/);
        await page.keyboard.press('ArrowUp');
        assert.match(await page.evaluate(() => document.activeElement.textContent), /Spiral/);
        await page.keyboard.press('Escape');
        await page.getByRole('menu').waitFor({ state: 'detached' });
        assert.match(await page.evaluate(() => document.activeElement.textContent), /Examples/);
    }),
);
test(
    'a number entry refuses what is none, steps, applies on Enter and forgets on Escape',
    long,
    on(async (page) => {
        const entry = page.getByRole('textbox', { name: 'Layers' });
        await entry.fill('9');
        assert.equal(await entry.getAttribute('aria-invalid'), 'true');
        await page.keyboard.press('Escape');
        assert.equal(await entry.inputValue(), '2');
        await entry.fill('4');
        await page.keyboard.press('Enter');
        await said(page, 'layers 4');
        await page.keyboard.press('ArrowUp');
        await said(page, 'layers 5');
    }),
);
test(
    'a slider follows keys and its entry',
    long,
    on(async (page) => {
        await page.getByRole('slider', { name: 'Strength' }).focus();
        await page.keyboard.press('ArrowRight');
        await said(page, 'strength 0.51');
        await page.getByRole('textbox', { name: 'Strength' }).fill('-1.5');
        await page.keyboard.press('Enter');
        await said(page, 'strength -1.5');
        assert.equal(await page.getByRole('slider', { name: 'Strength' }).inputValue(), '-1.5');
    }),
);
test(
    'the player answers to its keys, and not while a text is typed',
    long,
    on(async (page) => {
        await page.locator('h1').click();
        const count = page.locator('.player .count');
        assert.equal(await count.innerText(), '000,400');
        await page.keyboard.press('s');
        await page.locator('.player .count', { hasText: '000,401' }).waitFor();
        await page.getByRole('searchbox').first().focus();
        await page.keyboard.type('rs ');
        assert.equal(await count.innerText(), '000,401');
        await page.locator('h1').click();
        await page.keyboard.press('r');
        await page.locator('.player .count', { hasText: '000,000' }).waitFor();
        await page.keyboard.press('Space');
        await page.getByRole('button', { name: 'Pause' }).waitFor();
        await page.keyboard.press('Space');
        await page.getByRole('button', { name: 'Play', exact: true }).waitFor();
    }),
);
test(
    'a chart reads values off by keys, and what it saves is what it shows',
    long,
    on(async (page) => {
        const plot = page.getByRole('img', { name: /^Accuracy\./ });
        assert.match(await plot.getAttribute('aria-label'), /probe: layer 1 0\.71, layer 2 0\.83/);
        await plot.focus();
        await page.keyboard.press('ArrowRight');
        await page.locator('.reading', { hasText: 'layer 1' }).waitFor();
        assert.match(await page.locator('.reading').innerText(), /0\.71 \(0\.69 to 0\.73\)/);
        await page.keyboard.press('End');
        await page.locator('.reading', { hasText: 'layer 4' }).waitFor();
        const downloaded = page.waitForEvent('download');
        await page.getByRole('button', { name: 'Save Accuracy' }).focus();
        await page.keyboard.press('Enter');
        await page.keyboard.press('Enter');
        const text = readFileSync(await (await downloaded).path(), 'utf8').split('\r\n');
        assert.equal(text[0], 'label,probe,probe low,probe high,control,control low,control high');
        assert.equal(text[1], 'layer 1,0.71,0.69,0.73,0.52,0.5,0.54');
    }),
);
test(
    'a chart follows a training of many thousand values',
    long,
    on(async (page, t) => {
        await page.getByRole('button', { name: 'Play', exact: true }).click();
        const drawn = () => page.locator('[data-test="drawn"]').textContent();
        await page.waitForFunction(() => Number(document.querySelector('[data-test="drawn"]').textContent) > 5);
        const began = Date.now(),
            from = Number(await drawn());
        await page.waitForFunction((n) => Number(document.querySelector('[data-test="drawn"]').textContent) > n + 60, from);
        const frames = Number(await drawn()) - from,
            rate = (1000 * frames) / (Date.now() - began);
        t.diagnostic(`two curves, 20 values each a frame: ${rate.toFixed(0)} frames a second`);
        record('chart', { frames_per_second: rate });
        await page.getByRole('button', { name: 'Pause' }).click();
    }),
);
test(
    'a table of 50,000 rows keeps few in the page, sorts, filters, and is walked and chosen from by keys',
    long,
    on(async (page) => {
        const grid = page.getByRole('grid', { name: 'Units' });
        await grid.scrollIntoViewIfNeeded();
        assert.equal(await grid.getAttribute('aria-rowcount'), '50001');
        assert.ok((await grid.getByRole('row').count()) < 60);
        await grid.focus();
        await page.keyboard.press('End');
        await grid.getByRole('gridcell', { name: 'unit 49999' }).waitFor();
        await page.keyboard.press('Home');
        await page.keyboard.press('ArrowDown');
        await page.keyboard.press('Space');
        await page.keyboard.press('Shift+ArrowDown');
        await page.locator('[data-test="selected"]', { hasText: 'u1 u2' }).waitFor();
        await page.keyboard.press('Enter');
        await said(page, 'open unit 2');
        await grid.getByRole('button', { name: 'score' }).click();
        await grid.getByRole('gridcell', { name: '10006' }).first().waitFor();
        await page.getByRole('searchbox', { name: 'Filter Units' }).fill('unit 49998');
        await page.getByText('1 of 50000 rows').waitFor();
    }),
);
test(
    'a dialogue keeps the focus, closes with Escape and gives the focus back',
    long,
    on(async (page) => {
        await page.getByRole('button', { name: 'Ask' }).click();
        const dialog = page.getByRole('dialog', { name: 'A question' });
        await dialog.waitFor();
        await page.keyboard.press('Escape');
        await dialog.waitFor({ state: 'detached' });
        await said(page, 'closed');
    }),
);
test(
    'a divider moves by keys',
    long,
    on(async (page) => {
        await page.getByRole('separator', { name: 'Width of the left side' }).focus();
        await page.keyboard.press('ArrowRight');
        await page.getByText('left, 252 px').waitFor();
        await page.keyboard.press('Shift+ArrowLeft');
        await page.getByText('left, 204 px').waitFor();
    }),
);
test(
    'a job shows how far it is, its three tabs by keys, and stops',
    long,
    on(async (page) => {
        const running = page.getByRole('article', { name: 'othello-linear, small' });
        await running.getByText('42 %').waitFor();
        await running.getByRole('button', { name: 'Stop othello-linear, small' }).click();
        await said(page, 'stopped');
        /* What is done is to be checked, so that tab comes first; arrows go around. */
        await page.getByText('Every claim beside its control.').waitFor();
        await page.getByRole('tab', { name: 'Check it' }).focus();
        await page.keyboard.press('ArrowRight');
        await page.getByText('Trains small models and draws their features.').waitFor();
        await page.keyboard.press('ArrowRight');
        await page.getByText('Five seeds, each by Adam.').waitFor();
    }),
);
