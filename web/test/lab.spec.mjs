/* Lab: systems, claims beside controls, small studies as jobs, the check in the page, the tour. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PATIENCE, accessible, checkPlace, withPage } from './place.mjs';

const ready = (page) => page.getByRole('heading', { name: 'Lab', level: 1 }).waitFor();
const long = { timeout: 5 * PATIENCE };

checkPlace({ route: '/lab', title: 'Lab', ready, reach: ['Lab', 'Train', 'Inspect', 'Five-minute tour', 'Grow a neural net', 'A board that nobody showed', 'Data', 'Jobs', 'Notes', 'Why'] });

const card = (page) => page.getByRole('heading', { name: 'A board that nobody showed', level: 1 }).waitFor();
checkPlace({
    route: '/lab?card=othello-world',
    title: 'Lab, one system',
    name: 'lab-othello-world',
    ready: card,
    reach: ['Run its small study'],
    gesture: async (page) => {
        await page.getByRole('button', { name: 'Run its small study' }).click();
        const job = page.getByRole('article', { name: 'study othello-world, small' });
        await job.getByRole('button', { name: 'Stop' }).waitFor();
        await job.getByText('done', { exact: true }).waitFor();
        await page.getByRole('columnheader', { name: 'small run, now' }).waitFor();
        /* Claims have a number of now beside the committed one (or say that only the full run asks), with its origin on pointing at it. */
        const now = page.locator('tbody tr:not(.control) td:last-child .value');
        const only = page.locator('tbody tr:not(.control) td:last-child', { hasText: 'full run only' });
        assert.ok((await now.count()) > 4);
        assert.equal((await now.count()) + (await only.count()), await page.locator('tbody').count());
        await now.first().hover();
        await page.locator('footer .reason', { hasText: 'server' }).waitFor();
    },
});

test(
    'a study that was stopped says so, and its page can start it again',
    long,
    withPage('/lab?card=toy-superposition', async (page) => {
        const start = page.getByRole('button', { name: 'Run its small study' });
        await start.click();
        const job = page.getByRole('article', { name: 'study toy-superposition, small' });
        await job.getByRole('button', { name: 'Stop' }).click();
        await job.getByText('stopped', { exact: true }).waitFor();
        await page.waitForFunction(() => ![...document.querySelectorAll('button')].find((b) => b.textContent.includes('Run its small study')).disabled);
    }),
);

for (const [card, what, rows, where] of [
    ['playground', 'the Playground gives the losses of the original program, computed in the page', 34, 'page'],
    ['gan-lab', 'the arrows of the GANs are gradients, and the shipped ones have learnt, computed in the page', 12, 'page'],
    ['glass', 'edits do what they say and nothing else', 5, 'server'],
])
    test(
        what,
        long,
        withPage(`/lab?card=${card}`, async (page) => {
            await page.getByRole('button', { name: 'Check it here' }).click();
            await page.getByText(/(all \d+|\d+ of \d+) agree/).waitFor();
            const cells = await page.locator('table tbody tr').allInnerTexts();
            assert.equal(cells.length, rows);
            assert.deepEqual(cells.filter((c) => /differs/.test(c)), []);
            await page.locator(`#place .badge.${where}`).first().waitFor();
            await accessible(page);
        }),
    );

test(
    'every system opens, and numbers of reports say where they are from',
    long,
    withPage('/lab', async (page) => {
        await ready(page);
        const hrefs = await page.locator('.card h3 a').evaluateAll((all) => all.map((a) => a.getAttribute('href')));
        assert.ok(hrefs.length >= 8, `only ${hrefs.length} systems`);
        for (const href of hrefs) {
            await page.evaluate((h) => (location.hash = h), href);
            await page.locator('nav[aria-label="Way back"]').waitFor();
            const numbers = await page.locator('#place table .value').count();
            if (numbers > 0) await page.locator('#place .badge').first().waitFor();
            await page.goBack();
            await ready(page);
        }
    }),
);

test(
    'the tour goes through the places by keyboard and is left with Escape',
    long,
    withPage('/lab', async (page) => {
        await ready(page);
        await page.getByRole('button', { name: 'Five-minute tour' }).click();
        const tour = page.getByRole('dialog', { name: /^Tour:/ });
        await tour.waitFor();
        const n = Number((await tour.locator('.label').first().innerText()).match(/of (\d+)/)[1]);
        assert.ok(n >= 8, `${n} steps`);
        const routes = new Set();
        for (let i = 1; i <= n; i++) {
            await tour.getByText(`${i} of ${n}`).waitFor();
            await page.waitForFunction(() => document.documentElement.dataset.place);
            routes.add(await page.evaluate(() => document.documentElement.dataset.place));
            /* What a step points at is there. */
            if (i > 1) await page.locator('.light').waitFor();
            await page.keyboard.press(i === 4 ? 'ArrowLeft' : 'ArrowRight');
            if (i === 4) {
                await tour.getByText(`3 of ${n}`).waitFor();
                await page.keyboard.press('ArrowRight');
                await tour.getByText(`4 of ${n}`).waitFor();
                await page.keyboard.press('ArrowRight');
            }
        }
        await tour.waitFor({ state: 'detached' });
        assert.deepEqual([...routes].sort(), ['/inspect/board', '/inspect/model', '/lab', '/train/gan', '/train/net']);
        await page.evaluate(() => (location.hash = '#/lab'));
        await ready(page);
        await page.getByRole('button', { name: 'Five-minute tour' }).click();
        await tour.waitFor();
        await page.keyboard.press('Escape');
        await tour.waitFor({ state: 'detached' });
    }),
);
