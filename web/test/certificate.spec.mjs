/* What a model's certificate looks like in Inspect ▸ model: verified, failed, changed since, unreadable, none. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { build, newPage, open, openBrowser, root, serve, shots } from './place.mjs';

let folder, browser, site;
const kinds = ['verified', 'failed', 'changed', 'broken', 'none'];
const certificate = (kind) => join(folder, kind, 'sightglass-certificate.json');

before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'certificate-spec-'));
    for (const kind of kinds) {
        mkdirSync(join(folder, kind));
        for (const file of ['config.json', 'model.safetensors']) cpSync(join(root, 'models/othello6', file), join(folder, kind, file));
    }
    execFileSync(join(build, 'sightglass'), ['verify', join(folder, 'verified')], { stdio: 'pipe' });
    const found = JSON.parse(readFileSync(certificate('verified'), 'utf8'));
    writeFileSync(certificate('changed'), JSON.stringify(found));
    const weights = readFileSync(join(folder, 'changed/model.safetensors'));
    weights[weights.length - 2] ^= 1;
    writeFileSync(join(folder, 'changed/model.safetensors'), weights);
    const failed = { ...found, holds: false, runs: found.runs.map((r, i) => (i ? r : { ...r, holds: false, first_bad: 'blocks.1.hook_mlp_out', rows: r.rows.map((row) => (row.site === 'blocks.1.hook_mlp_out' ? { ...row, bad: 3, holds: false } : row)) })) };
    writeFileSync(certificate('failed'), JSON.stringify(failed));
    writeFileSync(certificate('broken'), '{');
    site = await serve([folder]);
    browser = await openBrowser();
});
after(async () => {
    await browser?.close();
    assert.equal(await site?.stop(), 0);
    rmSync(folder, { recursive: true, force: true });
});

async function see(kind, theme, look) {
    const page = await newPage(browser, site, { colorScheme: theme });
    await open(page, site, `/inspect/model?model=${kind}`);
    await page.locator('.place[data-fresh="true"]').waitFor();
    await look(page);
    assert.deepEqual(page.wrongs(), []);
    await page.context().close();
}

test('a verified model says so, and tells all of it on a click', async () => {
    for (const theme of ['light', 'dark'])
        await see('verified', theme, async (page) => {
            const badge = page.getByRole('button', { name: 'verified against f64' });
            await badge.waitFor();
            mkdirSync(shots, { recursive: true });
            await page.screenshot({ path: join(shots, `certificate-badge-${theme}.png`) });
            await badge.focus();
            await page.keyboard.press('Enter');
            const dialog = page.getByRole('dialog', { name: 'How exact verified is here' });
            await dialog.getByText('Every row holds').waitFor();
            const found = JSON.parse(readFileSync(certificate('verified'), 'utf8'));
            assert.match(await dialog.innerText(), new RegExp(found.hash));
            const first = found.runs[0];
            const shown = await dialog.getByRole('table', { name: `Worst layer of each kind, ${first.backend} ${first.compute}` }).innerText();
            const logits = first.rows.find((r) => r.site === 'logits');
            assert.ok(shown.includes(logits.max_rel.toExponential(1)), shown);
            assert.equal(await dialog.getByRole('region').count(), found.runs.length);
            await dialog.getByText(/^All \d+ values/).first().click();
            assert.equal(await dialog.getByRole('table', { name: `All values, ${first.backend} ${first.compute}` }).getByRole('row').count(), first.rows.length + 1);
            await dialog.getByText(/^All \d+ values/).first().click();
            await page.screenshot({ path: join(shots, `certificate-dialog-${theme}.png`) });
            await page.keyboard.press('Escape');
            await dialog.waitFor({ state: 'hidden' });
        });
});

test('a failure is named, a changed model makes its certificate stale', async () => {
    await see('failed', 'light', async (page) => {
        await page.getByRole('button', { name: 'verification failed' }).click();
        const dialog = page.getByRole('dialog');
        await dialog.getByText('The first value that is not finite is blocks.1.hook_mlp_out.').waitFor();
        assert.match(await dialog.innerText(), /3 not finite/);
        assert.match(await dialog.innerText(), /Not every row holds/);
    });
    await see('changed', 'light', async (page) => {
        await page.getByRole('button', { name: 'certificate is stale' }).click();
        await page.getByRole('dialog').getByText('Stale: the model’s files changed').waitFor();
    });
});

test('without a certificate, or with one that cannot be read, the way to one is told', async () => {
    await see('none', 'dark', async (page) => {
        await page.getByRole('button', { name: 'not verified' }).click();
        await page.getByRole('dialog').getByText('sightglass verify none').waitFor();
    });
    await see('broken', 'light', async (page) => {
        await page.getByRole('button', { name: 'certificate cannot be read' }).click();
        await page.getByRole('dialog').getByText(/line 1/).waitFor();
    });
});
