/* Examine ▸ methods: the form that the program's tables make, a job of it, and what was found beside its controls. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PATIENCE, checkPlace, withPage } from './place.mjs';

const long = { timeout: 5 * PATIENCE };
const ready = (page) => page.waitForFunction(() => Number(document.querySelector('[data-methods]')?.dataset.methods) > 0);
const found = (page) => page.waitForFunction(() => document.querySelector('[data-methods]')?.dataset.result);

async function run(page) {
    await page.getByRole('combobox', { name: 'POINTS' }).selectOption('othello6');
    await page.getByRole('button', { name: 'Run it' }).click();
    await found(page);
}

checkPlace({
    route: '/examine/methods?method=embeddings+localdim',
    title: 'Examine ▸ methods',
    name: 'examine-methods',
    ready,
    reach: ['Method', 'POINTS', 'side', 'share', 'seed'],
    gesture: run,
    /* A link brings the same question and what was found of it back. */
    state: async (page) => {
        await found(page);
        return { value: await page.locator('tbody .value b').first().textContent(), command: await page.locator('.command').first().textContent() };
    },
});

test(
    'a number stands beside its control, and the command is the one that gives it',
    long,
    withPage('/examine/methods?method=embeddings+localdim', async (page) => {
        await ready(page);
        await page.getByRole('spinbutton', { name: 'top' }).or(page.getByLabel('top', { exact: true })).first().fill('3');
        await page.keyboard.press('Tab');
        await run(page);
        const row = page.getByRole('region', { name: 'What was found, and its controls' }).locator('tbody tr').first();
        assert.equal(await row.locator('td').count(), 2);
        const [value, control] = await row.locator('td .value').allTextContents();
        assert.ok(Number.parseFloat(value) > 0 && Number.parseFloat(control) > 0, `${value} beside ${control}`);
        assert.match(await page.locator('.command').first().textContent(), /^sightglass embeddings localdim othello6 --top 3$/);
        assert.match(await page.locator('dl').textContent(), /top 3/);
    }),
);

test(
    'what a method refuses is said, and what is missing keeps it from being asked',
    long,
    withPage('/examine/methods?method=embeddings+compare', async (page) => {
        await ready(page);
        assert.ok(await page.getByRole('button', { name: 'Run it' }).isDisabled());
        await page.getByText('M1 is missing').waitFor();
        for (const name of ['M1', 'M2']) await page.getByRole('combobox', { name }).selectOption('othello6');
        await page.getByRole('button', { name: 'Run it' }).click();
        /* It ends, one way or the other, and the page says how. */
        await page.locator('article.done, article.failed').waitFor();
        const failed = await page.locator('article.failed .error').count();
        assert.equal(failed + (await page.locator('[data-result]:not([data-result=""])').count()) > 0, true);
    }),
);

test(
    'nonsense in the address is dropped',
    long,
    withPage(`/examine/methods?method=nothing&asked={'inputs':[1,{}],'settings':{'k':3},'seed':-1}&job=zzz`, async (page) => {
        await ready(page);
        await page.getByRole('button', { name: 'Run it' }).waitFor();
    }),
);
