/* Train ▸ GAN: the checklist of GAN Lab, walked in a browser. Numbers are held against the same engine in Node and the native
 * command. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { engineModules, native } from './gan.native.mjs';
import { build, checkPlace, PATIENCE, root, shoot, withPage } from './place.mjs';

const folder = mkdtempSync(join(tmpdir(), 'sightglass-gan-page-'));
let engine, gan;
before(async () => {
    gan = await engineModules();
    engine = await gan.load(join(build, 'wasm/sightglass.wasm'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/* ---- what a reader does and sees ---- */

const number = (page, name) => page.locator(`[data-number="${name}"]`);
const ready = (page) => page.waitForFunction(() => /\d/.test(document.querySelector('[data-number="js"]')?.textContent ?? ''));
const epoch = async (page) => Number((await page.locator('output.count').textContent()).replace(',', ''));
const button = (page, name) => page.getByRole('button', { name, exact: true });
const at = (page, text) => page.waitForFunction((t) => document.querySelector('output.count')?.textContent === t, text);
const settings = (page, net) => page.getByRole('group', { name: net, exact: true });
const shape = (page, name) => page.locator(`input[name="gan-shape"][value="${name}"]`);
/* What is done by the worker is done in order, so an answer that changes the page comes after everything before it. */
const choose = async (page, name) => {
    await shape(page, name).click({ force: true });
    await page.waitForFunction((n) => document.querySelector(`input[name="gan-shape"][value="${n}"]`)?.checked && /shape=|pre=|GAN/.test(location.hash + document.title), name);
};
const enter = async (page, field, value) => {
    await field.fill(String(value));
    await field.press('Enter');
};

/** Saves, and gives both files. */
async function saved(page) {
    const files = [];
    const both = new Promise((resolve) => page.on('download', function take(d) {
        files.push(d);
        if (files.length === 2) {
            page.off('download', take);
            resolve();
        }
    })); // prettier-ignore
    await button(page, 'Save').click();
    await both;
    const out = {};
    for (const d of files) {
        const path = join(folder, d.suggestedFilename());
        await d.saveAs(path);
        out[path.endsWith('.json') ? 'json' : 'weights'] = { path, bytes: readFileSync(path) };
    }
    return out;
}
const weightsOf = (g) => Buffer.from(g.save('x').weights);
const shipped = (name) => {
    const file = (f) => readFileSync(join(root, 'models/gan', f));
    return gan.Gan.open(engine, file(`${name}.json`).toString(), new Map([[`${name}.weights.bin`, new Uint8Array(file(`${name}.weights.bin`))]]), name, 1);
};

checkPlace({
    route: '/train/gan',
    ready,
    gesture: async (page) => {
        await choose(page, 'ring');
        await page.locator('[data-layer="arrows"]').click();
        await settings(page, 'Discriminator').getByLabel('Units a layer').fill('9');
        await settings(page, 'Discriminator').getByLabel('Units a layer').press('Enter');
        await at(page, '000,000');
        await button(page, 'One epoch').click();
        await at(page, '000,001');
    },
    state: (page) =>
        page.evaluate(() => ({
            shape: document.querySelector('input[name="gan-shape"]:checked')?.value,
            layers: [...document.querySelectorAll('[data-layer]')].map((b) => `${b.dataset.layer} ${b.getAttribute('aria-pressed')}`),
            fields: [...document.querySelectorAll('.settings input, .settings select')].map((i) => i.value),
        })),
    reach: ['Play', 'One epoch', 'Start again', 'Slow motion', 'Step by step', 'Edit', 'Save', 'Noise', 'Units a layer', 'Learning rate', 'Loss', 'samples in the plane'],
    shortcuts: [
        { press: 's', then: (page) => at(page, '000,901') },
        { press: 'e', then: (page) => settings(page, 'Generator').waitFor({ state: 'detached' }) },
        { press: 'e', then: (page) => settings(page, 'Generator').waitFor() },
        { press: '2', then: (page) => page.locator('[data-layer="manifold"][aria-pressed="false"]').waitFor() },
    ],
});

const walk = (name, run, options) => test(name, { timeout: 3 * PATIENCE }, withPage('/train/gan', async (page, site) => (await ready(page), run(page, site)), options));

walk('the four trained models open, controls follow the file, and nothing is trained by looking', async (page) => {
    for (const [name, iteration, noise, units] of [['line', '000,700', '2D Uniform', '12'], ['gaussians', '000,900', '2D Gaussian', '12'], ['ring', '002,300', '2D Uniform', '12'], ['disjoint', '001,700', '2D Uniform', '14']]) {
        await choose(page, name);
        await at(page, iteration);
        assert.equal(await page.getByRole('combobox', { name: 'Noise' }).inputValue(), noise);
        assert.equal(await settings(page, 'Discriminator').getByLabel('Units a layer').inputValue(), units);
        assert.ok(await page.getByRole('switch', { name: 'Pre-trained' }).isChecked());
        const files = await saved(page);
        assert.ok(files.weights.bytes.equals(readFileSync(join(root, `models/gan/${name}.weights.bin`))), `${name}: the weights are not those of the file`);
    }
});

walk('playing is training, to the byte; pausing trains nothing; KL and JS are those of the command', async (page) => {
    await choose(page, 'line');
    await at(page, '000,700');
    const first = await number(page, 'kl').textContent();
    /* Every number that the counter shows while it plays. */
    await page.evaluate(() => {
        const count = document.querySelector('output.count');
        globalThis.counted = [];
        new MutationObserver(() => globalThis.counted.push(Number(count.textContent.replace(',', '')))).observe(count, { characterData: true, childList: true, subtree: true });
    });
    await button(page, 'Play').click();
    await page.waitForFunction(() => Number(document.querySelector('output.count').textContent.replace(',', '')) >= 760);
    const odd = (await page.evaluate(() => globalThis.counted)).filter((n) => n % 2 === 1);
    assert.deepEqual(odd, [], 'the counter goes in twos');
    await button(page, 'Pause').click();
    await button(page, 'Play').waitFor();
    assert.notEqual(await number(page, 'kl').textContent(), first, 'after 50 iterations there is a new picture');
    const files = await saved(page);
    const stopped = await epoch(page);
    const g = shipped('line');
    g.step('both', stopped - 700);
    assert.ok(weightsOf(g).equals(files.weights.bytes), `after ${stopped - 700} iterations the weights are not Node's`);
    g.free();
    const said = JSON.parse(native('load', files.json.path, '--json'));
    assert.equal(await number(page, 'kl').textContent(), said.kl.toFixed(3));
    assert.equal(await number(page, 'js').textContent(), said.js.toFixed(3));
    assert.equal(said.iteration, stopped);
    await button(page, 'Start again').click();
    await at(page, '000,700');
    assert.equal(await number(page, 'kl').textContent(), first);
});

walk('fresh weights come from the seed, and reset brings them back', async (page) => {
    await page.getByText('Pre-trained', { exact: true }).click();
    await at(page, '000,000');
    const first = (await saved(page)).weights.bytes;
    await button(page, 'One epoch').click();
    await at(page, '000,001');
    assert.ok(!(await saved(page)).weights.bytes.equals(first));
    await button(page, 'Start again').click();
    await at(page, '000,000');
    assert.ok((await saved(page)).weights.bytes.equals(first));
    await enter(page, page.getByRole('textbox', { name: 'Seed' }), 77);
    await page.waitForFunction(() => /seed=77/.test(location.hash));
    await page.getByText('seed 77').waitFor();
    assert.ok(!(await saved(page)).weights.bytes.equals(first));
    await page.getByText('Pre-trained', { exact: true }).click();
    await at(page, '000,900');
});

walk('slow motion shows ten numbered stages in order, one network at a time', async (page) => {
    await page.evaluate(() => {
        globalThis.stages = [];
        new MutationObserver(() => {
            const tip = document.querySelector('[data-stage]');
            const number = Number(tip?.dataset.stage ?? 0);
            if (!number || globalThis.stages.at(-1)?.number === number) return;
            globalThis.stages.push({
                number,
                when: performance.now(),
                text: tip.textContent,
                lit: [...document.querySelectorAll('.node.lit')].map((n) => n.dataset.node),
                dim: [...document.querySelectorAll('.node.dim')].map((n) => n.dataset.node),
                flows: [...new Set([...document.querySelectorAll('[data-flows]')].map((e) => e.dataset.flows).filter(Boolean))],
            });
        }).observe(document.getElementById('place'), { subtree: true, childList: true, attributes: true });
    });
    await button(page, 'Slow motion').click();
    await button(page, 'Play').click();
    await page.waitForFunction(() => globalThis.stages.length >= 3);
    await shoot(page, 'train-gan-slow');
    await page.waitForFunction(() => globalThis.stages.length >= 11, null, { timeout: PATIENCE });
    await button(page, 'Pause').click();
    const seen = await page.evaluate(() => globalThis.stages);
    assert.deepEqual(seen.slice(0, 11).map((s) => s.number), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1]);
    const lit = [['noise', 'generator', 'fake'], ['fake', 'real', 'discriminator', 'real-prediction', 'fake-prediction'], ['d-loss'], ['d-gradients'], ['discriminator'], ['noise', 'generator', 'fake'], ['fake', 'discriminator', 'fake-prediction'], ['g-loss'], ['g-gradients'], ['generator']];
    seen.slice(0, 10).forEach((s, i) => {
        assert.deepEqual([...s.lit].sort(), [...lit[i]].sort(), `stage ${i + 1}`);
        const idle = i < 5 ? 'generator' : 'discriminator';
        assert.deepEqual(s.dim, lit[i].includes(idle) ? [] : [idle], `stage ${i + 1}`);
        assert.deepEqual(s.flows, [i < 5 ? 'd' : 'g'], `stage ${i + 1}`);
        assert.match(s.text, i < 5 ? /Discriminator: / : /Generator: /);
    });
    const took = seen[9].when - seen[0].when; /* timers never come early */
    assert.ok(took > 9 * 1250 - 500, `a stage stands for 1.25 s, so nine of them not for ${took} ms`);
    /* The step button goes by stages, too, and leaving slow motion finishes the iteration. */
    await button(page, 'One epoch').click();
    await page.locator('[data-stage="2"]').waitFor();
    await button(page, 'Slow motion').click();
    await page.locator('[data-stage]').waitFor({ state: 'detached' });
    await button(page, 'One epoch').click();
    await at(page, '000,902');
    const g = shipped('gaussians');
    g.step('both', 2);
    assert.ok(weightsOf(g).equals((await saved(page)).weights.bytes), 'slow motion is no other training');
    g.free();
});

walk('step mode does exactly the updates of its buttons, and playing leaves it', async (page) => {
    await button(page, 'Step by step').click();
    const steps = page.getByRole('group', { name: 'Steps' });
    const g = shipped('gaussians');
    let n = 900;
    for (const [name, part] of [['Discriminator', 'd'], ['Generator', 'g'], ['Both', 'both'], ['Generator', 'g']]) {
        await steps.getByRole('button', { name }).click();
        await at(page, `000,${++n}`);
        g.step(part);
        assert.ok(weightsOf(g).equals((await saved(page)).weights.bytes), name);
    }
    g.free();
    await button(page, 'Play').click();
    await steps.waitFor({ state: 'detached' });
    await button(page, 'Pause').click();
});

walk('settings: some take effect at once, some make a new model, and all can be taken back', async (page) => {
    const d = settings(page, 'Discriminator');
    await d.getByLabel('Learning rate').selectOption('0.03');
    await page.locator('.changed select').first().waitFor(); /* amber: not yet computed with */
    await enter(page, d.getByLabel('Updates an iteration'), 0);
    await d.getByLabel('Optimiser').selectOption('Adam');
    await page.getByRole('combobox', { name: 'Loss' }).selectOption('LeastSq loss');
    await page.waitForFunction(() => /loss=LeastSq/.test(location.hash));
    assert.equal(await epoch(page), 900, 'the model is still the same');
    await button(page, 'One epoch').click();
    await at(page, '000,901');
    await page.waitForFunction(() => !document.querySelector('.settings .changed'));
    const o = JSON.parse((await saved(page)).json.bytes).modelTopology.config;
    assert.deepEqual([o.dLearningRate, o.kDSteps, o.dOptimizerType, o.lossType], [0.03, 0, 'Adam', 'LeastSq loss']);
    await enter(page, settings(page, 'Generator').getByLabel('More hidden layers'), 5);
    await at(page, '000,000');
    assert.ok(!(await page.getByRole('switch', { name: 'Pre-trained' }).isChecked()), 'it leaves the trained model');
    await page.evaluate(() => document.activeElement?.blur());
    await page.keyboard.press('Control+z');
    await at(page, '000,900');
    await button(page, 'Edit').click();
    await d.waitFor({ state: 'detached' });
});

walk('four kinds of noise: a sheet of cells, or a curve', async (page) => {
    const picture = () => page.locator('[data-node="generator"] canvas').evaluate((c) => c.toDataURL());
    const seen = new Set([await picture()]);
    for (const noise of ['1D Uniform', '1D Gaussian', '2D Uniform']) {
        await page.getByRole('combobox', { name: 'Noise' }).selectOption(noise);
        await page.waitForFunction((n) => location.hash.includes('pre=0') && (n === '2D Uniform' ? !location.hash.includes('noise=') : location.hash.includes(`noise=${n.replace(' ', '+')}`)), noise);
        await at(page, '000,000');
        await page.waitForFunction(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))));
        const file = JSON.parse((await saved(page)).json.bytes).modelTopology.config;
        assert.equal(file.selectedNoiseType, noise);
        assert.equal(file.noiseSize, Number(noise[0]));
        seen.add(await picture());
    }
    assert.equal(seen.size, 3, 'sheets of both kinds, and one curve: the noise does not bend it');
});

walk('a distribution is drawn by hand', async (page) => {
    await shape(page, 'drawing').click({ force: true });
    const dialog = page.getByRole('dialog', { name: 'Draw a distribution' });
    await dialog.getByRole('button', { name: 'Apply' }).click();
    await dialog.getByRole('alert').waitFor();
    assert.equal(await epoch(page), 900, 'an empty drawing changes nothing');
    const box = await dialog.getByRole('application').boundingBox();
    await page.mouse.move(box.x + box.width / 4, box.y + box.height / 4);
    await page.mouse.down();
    await page.mouse.move(box.x + (box.width * 3) / 4, box.y + box.height / 4, { steps: 20 });
    await page.mouse.up();
    await dialog.getByRole('button', { name: 'Apply' }).click();
    await dialog.waitFor({ state: 'detached' });
    await at(page, '000,000');
    await page.waitForFunction(() => /strokes=/.test(location.hash));
    const { json } = await saved(page);
    const { strokes } = JSON.parse(json.bytes).modelTopology;
    const points = strokes.split(' ').map((p) => p.split(',').map(Number));
    assert.ok(points.length >= 15, `${points.length} points`);
    for (const [x, y] of points) assert.ok(x > 0.24 && x < 0.76 && Math.abs(y - 0.75) < 0.02, `${x}, ${y}`);
    const said = JSON.parse(native('load', json.path, '--json'));
    for (const [x, y] of said.real) assert.ok(points.some(([a, b]) => Math.hypot(x - a, y - b) < 0.02 * 5), 'a sample is far from every stroke');
    await shoot(page, 'train-gan-drawing');
});

walk('a model is saved, opened again, and refused where it is broken', async (page) => {
    await choose(page, 'disjoint');
    await at(page, '001,700');
    await button(page, 'One epoch').click();
    await at(page, '001,701');
    const { json, weights } = await saved(page);
    const js = await number(page, 'js').textContent();
    await choose(page, 'line');
    await at(page, '000,700');
    const open = (...paths) => page.getByLabel('Model files').setInputFiles(paths);
    await open(json.path, weights.path);
    await at(page, '001,701');
    assert.equal(await number(page, 'js').textContent(), js);
    assert.ok(await shape(page, 'disjoint').isChecked());
    await page.getByText('sightglass-gan-disjoint.json', { exact: false }).first().waitFor();
    await open(json.path);
    await page.getByRole('alert').filter({ hasText: 'sightglass-gan-disjoint.weights.bin' }).waitFor();
    const broken = join(folder, 'broken.json');
    writeFileSync(broken, '{"weightsManifest":[]}');
    await open(broken);
    await page.getByRole('alert').filter({ hasText: 'shape_name' }).waitFor();
    assert.equal(await epoch(page), 1701, 'what was there is still there');
    await button(page, 'One epoch').click();
    await at(page, '001,702');
    await page.getByRole('alert').waitFor({ state: 'detached' });
});

walk('five layers are turned on and off from the drawing and from the legend, in step', async (page) => {
    const boxes = { manifold: 'Generator', fake: 'Generated samples', real: 'Real samples', field: 'Discriminator', arrows: 'Gradients of fakes' };
    for (const [layer, title] of Object.entries(boxes)) {
        const legend = page.locator(`[data-layer="${layer}"]`),
            box = page.getByRole('group', { name: 'the model' }).getByRole('checkbox', { name: title, exact: true });
        assert.equal(await legend.getAttribute('aria-pressed'), 'true');
        await box.uncheck();
        await page.locator(`[data-layer="${layer}"][aria-pressed="false"]`).waitFor();
        await legend.click();
        await page.locator(`[data-layer="${layer}"][aria-pressed="true"]`).waitFor();
        assert.ok(await box.isChecked());
    }
});

walk('the sheet unfolds out of the noise when it is pointed at', async (page) => {
    await page.evaluate(() => {
        globalThis.morphs = [];
        const sheet = document.querySelector('[data-morph]');
        new MutationObserver(() => globalThis.morphs.push([performance.now(), Number(sheet.dataset.morph)])).observe(sheet, { attributes: true });
    });
    await page.locator('[data-morph]').hover();
    await page.waitForFunction(() => globalThis.morphs.length > 2 && globalThis.morphs.at(-1)[1] === 1);
    const morphs = await page.evaluate(() => globalThis.morphs);
    assert.ok(morphs.some(([, t]) => t > 0.1 && t < 0.9), 'it moves');
    const took = morphs.at(-1)[0] - morphs[0][0];
    assert.ok(took > 1500, `it takes two seconds, not ${took} ms`);
});

walk('a point says where it is, by pointer and by keys, and a loop selects', async (page) => {
    const plane = page.getByRole('application', { name: 'samples in the plane' });
    await page.locator('[data-layer="real"]').click();
    const g = shipped('gaussians'),
        v = g.look();
    /* The one that is farthest from its neighbours. */
    let best = 0,
        room = 0;
    for (let i = 0; i < 150; i++) {
        let nearest = Infinity;
        for (let j = 0; j < 150; j++) if (j !== i) nearest = Math.min(nearest, Math.hypot(v.fake[2 * i] - v.fake[2 * j], v.fake[2 * i + 1] - v.fake[2 * j + 1]));
        const inside = [0, 1].every((k) => v.fake[2 * i + k] > 0.1 && v.fake[2 * i + k] < 0.9);
        if (inside && nearest > room) [best, room] = [i, nearest];
    }
    const [x, y] = [v.fake[2 * best], v.fake[2 * best + 1]];
    g.free();
    await plane.scrollIntoViewIfNeeded();
    const box = await plane.boundingBox();
    await page.mouse.move(box.x + x * box.width, box.y + (1 - y) * box.height);
    const tip = plane.locator('.tip');
    await tip.waitFor();
    assert.equal(await tip.textContent(), `generated ${x.toFixed(2)}, ${y.toFixed(2)}, D ${v.dFake[best].toFixed(2)}`);
    await page.mouse.move(box.x - 20, box.y - 20);
    await tip.waitFor({ state: 'detached' });
    await plane.focus();
    await page.keyboard.press('ArrowRight');
    await tip.waitFor();
    assert.match(await tip.textContent(), /^generated -?\d\.\d\d, -?\d\.\d\d, D \d\.\d\d$/);
    /* A loop around all of the plane takes all the fakes that are in it. */
    const corners = [[0.01, 0.01], [0.99, 0.01], [0.99, 0.99], [0.01, 0.99], [0.01, 0.02]];
    await page.mouse.move(box.x + corners[0][0] * box.width, box.y + corners[0][1] * box.height);
    await page.mouse.down();
    for (const [a, b] of corners.slice(1)) await page.mouse.move(box.x + a * box.width, box.y + b * box.height, { steps: 3 });
    await page.mouse.up();
    await page.waitForFunction(() => /sel=row:/.test(location.hash));
    const ids = /sel=row:([^@&]*)/.exec(new URL(page.url()).hash)[1].split(',');
    const inside = Array.from({ length: 150 }, (_, i) => i).filter((i) => [0, 1].every((k) => v.fake[2 * i + k] > 0.02 && v.fake[2 * i + k] < 0.98));
    assert.ok(ids.length >= inside.length && ids.every((id) => id.startsWith('generated:')), `${ids.length} selected, ${inside.length} inside`);
});
