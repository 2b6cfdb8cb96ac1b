/* What surrounds every place: addresses, keys, themes, drawers, notes, and the server's presence. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lint } from '../lint.mjs';
import { withPage, open, PATIENCE } from './place.mjs';

const long = { timeout: 3 * PATIENCE };
const place = (page, route) => page.waitForFunction((r) => document.documentElement.dataset.place === r, route);

test(
    'a link of the public Playground opens Train ▸ net and stays as it is',
    long,
    withPage('activation=relu&batchSize=10&dataset=spiral&networkShape=8,4&seed=0.1&x=true&y=true', async (page) => {
        await place(page, '/train/net');
        assert.match(page.url(), /#activation=relu&.*dataset=spiral/);
        assert.equal(await page.title(), 'Net · Sightglass');
    }),
);
test(
    'an address that is none says so, and leads home',
    long,
    withPage('/nowhere/%E0%A4%A', async (page) => {
        await page.getByRole('heading', { name: 'There is nothing here' }).waitFor();
        await page.getByRole('link', { name: 'To the Lab', exact: true }).click();
        await place(page, '/lab');
    }),
);
test(
    'a screen that comes later says so',
    long,
    withPage('/converse/1', async (page) => {
        await page.getByRole('heading', { name: 'Converse comes later' }).waitFor();
    }),
);
test(
    'what a link holds is text: nothing of it runs',
    long,
    withPage('/lab?card=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&__proto__=x&constructor=y', async (page) => {
        page.on('dialog', () => assert.fail('something of the link ran'));
        await page.getByRole('heading', { name: 'Lab', level: 1 }).waitFor();
        assert.equal(await page.evaluate(() => ({}).x), undefined);
    }),
);
test(
    'back and forward walk through the places',
    long,
    withPage('/lab', async (page) => {
        await place(page, '/lab');
        await page.keyboard.press('Alt+2');
        await place(page, '/train/net');
        await page.getByRole('link', { name: 'GAN', exact: true }).click();
        await place(page, '/train/gan');
        await page.goBack();
        await place(page, '/train/net');
        await page.goForward();
        await place(page, '/train/gan');
    }),
);
test(
    'a theme that was chosen is there before the first paint, also after loading again',
    long,
    withPage('/lab', async (page, site) => {
        await place(page, '/lab');
        await page.getByRole('button', { name: 'Light or dark' }).click();
        await page.keyboard.press('End');
        await page.keyboard.press('Enter');
        assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
        /* Scripts at the end of the body are later than the first paint may be; theme.js is not. */
        await page.addInitScript(() => {
            new MutationObserver(() => {
                if (document.body && !globalThis.themeAtBody) globalThis.themeAtBody = document.documentElement.dataset.theme;
            }).observe(document, { childList: true, subtree: true });
        });
        await page.reload();
        await place(page, '/lab');
        assert.equal(await page.evaluate(() => globalThis.themeAtBody), 'dark');
        void site;
    }),
);
test(
    'a note keeps its view; removing it can be taken back; it is there after loading again',
    long,
    withPage('/lab?card=toy-superposition', async (page) => {
        await place(page, '/lab');
        await page.keyboard.press('n');
        await page.getByPlaceholder('A note about this view').fill('Look at p = .3');
        await page.keyboard.press('Enter');
        const note = page.getByRole('listitem').filter({ hasText: 'Look at p = .3' });
        await note.waitFor();
        assert.equal(await note.getByRole('link').getAttribute('href'), '#/lab?card=toy-superposition');
        await note.getByRole('button', { name: 'Remove this note' }).click();
        await note.waitFor({ state: 'detached' });
        await page.getByRole('heading', { name: 'Notes' }).click();
        await page.keyboard.press('Control+z');
        await note.waitFor();
        await page.keyboard.press('Escape');
        await page.reload();
        await place(page, '/lab');
        await page.getByRole('button', { name: 'Notes' }).click();
        await note.waitFor();
    }),
);
test(
    'the data drawer shows the table of the open system, sorts, filters and walks by keys',
    long,
    withPage('/lab?card=othello-world', async (page) => {
        await place(page, '/lab');
        await page.keyboard.press('d');
        const grid = page.getByRole('grid', { name: 'claims of othello-world' });
        await grid.waitFor();
        assert.equal(await grid.getAttribute('aria-rowcount'), '11');
        await page.getByRole('searchbox', { name: 'Filter claims of othello-world' }).fill('legal');
        await page.getByText(/of 10 rows/).waitFor();
        await page.getByRole('searchbox', { name: 'Filter claims of othello-world' }).fill('');
        await grid.getByRole('button', { name: 'full run' }).click();
        assert.equal(await grid.getByRole('columnheader', { name: 'full run' }).getAttribute('aria-sort'), 'descending');
        await grid.focus();
        await page.keyboard.press('End');
        assert.match(await grid.getAttribute('aria-activedescendant'), /-9$/);
    }),
);
test(
    'a page whose server ends says so, and goes on with what it computes itself',
    long,
    withPage('/lab?card=othello-world', async (page) => {
        await place(page, '/lab');
        await page.locator('.presence.here').waitFor();
        await page.context().setOffline(true);
        await page.getByRole('button', { name: 'Run its small study' }).click();
        await page.getByRole('alert').waitFor();
        assert.match(await page.getByRole('alert').innerText(), /does not answer/);
        await page.locator('.presence.lost').waitFor();
        await page.context().setOffline(false);
        /* That it could not be reached is what was wanted. */
        page.wrongs();
    }),
);
test('a page without the token says how to open it', long, withPage('/lab', async (page, site, t, browser) => {
    const stranger = await browser.newContext();
    try {
        const other = await stranger.newPage();
        const answer = await other.goto(site.base);
        assert.ok([200, 401].includes(answer.status()));
        if (answer.status() === 200) await other.locator('.presence.locked').waitFor({ timeout: PATIENCE });
        else assert.match(await other.content(), /token/);
    } finally {
        await stranger.close();
    }
    void [page, t, open];
}));

test('the rules of the page find what breaks them', () => {
    const bad = {
        drawing: ['src/places/x/X.svelte', '<svg></svg>'],
        fetching: ['src/places/x/x.ts', 'await fetch("/api/v1/models")'],
        outside: ['src/theme.css', '@import url("https://fonts.example/x.css");'],
        workers: ['src/places/x/x.ts', 'new Worker(new URL("./w.ts", import.meta.url))'],
        running: ['src/places/x/X.svelte', '{@html text}'],
    };
    for (const [rule, [file, text]] of Object.entries(bad)) {
        const found = lint(file, text);
        assert.equal(found.length, 1, `${rule}: ${found}`);
        assert.match(found[0], new RegExp(`: ${rule}: `));
    }
    assert.deepEqual(lint('src/components/X.svelte', '<svg xmlns="http://www.w3.org/2000/svg"></svg>'), []);
    assert.deepEqual(lint('src/places/x/x.ts', '/* fetch( is said in a comment */ const prefetch = 1;'), []);
});
