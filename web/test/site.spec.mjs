/* The page without a server: build/site/ from any web space, and opened from a folder. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PATIENCE, accessible, build, fileUrl, files, fits, newPage, open, openBrowser } from './place.mjs';

const folder = join(build, 'site');
const long = { timeout: 3 * PATIENCE };
let browser;
before(
    async () => {
        assert.ok(existsSync(join(folder, 'index.html')), 'scripts/build-page site makes it');
        browser = await openBrowser();
    },
    { timeout: PATIENCE },
);
after(() => browser?.close());

for (const [kind, from] of [
    ['over HTTP', () => files(folder)],
    ['from a folder', async () => fileUrl(folder)],
]) {
    describe(`the site, ${kind}`, { timeout: 20 * PATIENCE }, () => {
        let site;
        before(async () => {
            site = await from();
        });
        after(() => site?.stop());
        const withPage = (route, run) => async () => {
            const page = await newPage(browser, site);
            try {
                await open(page, site, route);
                await page.waitForFunction(() => document.documentElement.dataset.place);
                await run(page);
                assert.deepEqual(page.wrongs(), []);
            } finally {
                await page.context().close();
            }
        };

        test(
            'Lab says that server features are off, and which need it',
            long,
            withPage('/lab', async (page) => {
                await page.locator('.presence.absent', { hasText: 'server features off' }).waitFor();
                await page.getByText('needs the server').first().waitFor();
                await fits(page);
                await accessible(page);
            }),
        );
        test(
            'the committed numbers are there, and the button says what it needs',
            long,
            withPage('/lab?card=othello-linear', async (page) => {
                await page.getByText('all 7 claims hold').first().waitFor();
                assert.ok(await page.getByRole('button', { name: 'Run its small study' }).isDisabled());
                await page.getByText('sightglass study run othello-linear').waitFor();
            }),
        );
        test(
            'the engine computes in the page',
            long,
            withPage('/lab?card=playground', async (page) => {
                await page.getByRole('button', { name: 'Check it here' }).click();
                await page.getByText('all 34 agree').waitFor();
            }),
        );
        test(
            'a net trains',
            long,
            withPage('seed=0.12345', async (page) => {
                await page.getByRole('button', { name: 'Play' }).click();
                await page.waitForFunction(() => Number(document.querySelector('.player .count')?.textContent?.replace(/\D/g, '')) > 5);
            }),
        );
        test(
            'a GAN trains',
            long,
            withPage('/train/gan', async (page) => {
                const count = () => page.evaluate(() => Number(document.querySelector('.player .count')?.textContent?.replace(/\D/g, '')));
                await page.locator('.player .count').waitFor();
                const at = await count();
                await page.getByRole('button', { name: 'Play' }).click();
                await page.waitForFunction((n) => Number(document.querySelector('.player .count')?.textContent?.replace(/\D/g, '')) > n + 3, at);
            }),
        );
        for (const route of ['/inspect/model', '/inspect/board'])
            test(
                `${route} says that it needs the server`,
                long,
                withPage(route, async (page) => {
                    await page.getByRole('heading', { name: /needs the server/ }).waitFor();
                }),
            );
    });
}
