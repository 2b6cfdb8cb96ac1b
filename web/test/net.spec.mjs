/* Train ▸ net in the browser: the checklist of the Playground, row by row. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { engineModules, epochs, goldens, shared, tolerances } from './net.native.mjs';
import { checkPlace, record, withPage } from './place.mjs';

let m;
before(async () => {
    m = await engineModules();
});

const net = (page) => page.locator('.net');
const ready = (page) => page.locator('.net[data-ready="true"]').waitFor();
const number = async (page, name) => Number(await net(page).getAttribute(`data-${name}`));
const epoch = (page) => number(page, 'epoch');
const atEpoch = (page, n, least = false) =>
    page.waitForFunction(([want, atLeast]) => {
        const at = Number(document.querySelector('.net')?.dataset.epoch);
        return atLeast ? at >= want : at === want;
    }, [n, least]);
const hash = (page) => new URL(page.url()).hash.slice(1);
const value = (page, name) => new URLSearchParams(hash(page)).get(name);
const hashHas = (page, name, wanted) => page.waitForFunction(([k, v]) => new URLSearchParams(location.hash.slice(1)).get(k) === v, [name, wanted]);
/** n single steps, without waiting for their pictures. */
const steps = async (page, n) => {
    let from = -1;
    while (from !== (from = await epoch(page))) await page.evaluate(() => new Promise((r) => requestAnimationFrame(() => setTimeout(r, 20)))); /* what was asked for before is there */
    await page.evaluate((k) => {
        for (let i = 0; i < k; i++) window.dispatchEvent(new KeyboardEvent('keydown', { key: 's' }));
    }, n);
    await atEpoch(page, from + n);
};
const net0 = (address, use) => {
    const one = m.Net.create(m.engine, address);
    try {
        return use(one);
    } finally {
        one.free();
    }
};
const choose = (page, label, option) => page.getByLabel(label, { exact: true }).selectOption({ label: option });
const pull = async (page, label, to) => {
    await page.getByRole('slider', { name: label }).fill(String(to));
};

checkPlace({
    route: '/train/net',
    ready,
    gesture: async (page) => {
        await page.getByRole('button', { name: 'Play' }).click();
        await atEpoch(page, 20, true);
        await page.getByRole('button', { name: 'Pause' }).click();
        assert.ok((await number(page, 'train')) < 0.6);
    },
    state: async (page) => hash(page),
    reach: ['Start again', 'Play', 'One epoch', 'Learning rate', 'Activation', 'Circle', 'Input X₁', 'Neuron 1 of layer 1', 'Regenerate', 'Add a layer'],
    shortcuts: [
        { press: 's', then: (page) => atEpoch(page, 1) },
        { press: 'Space', then: (page) => atEpoch(page, 3, true) },
        { press: 'r', then: (page) => atEpoch(page, 0) },
    ],
});

test('1–4: play and pause, one epoch, start again, the counter', withPage('seed=0.12345', async (page) => {
    await ready(page);
    const weight = () => page.locator('path.link').first().getAttribute('stroke-width');
    const first = await weight();
    await page.getByRole('button', { name: 'Play' }).click();
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    await atEpoch(page, 5, true);
    assert.ok(Number(await page.locator('[data-curve]').getAttribute('data-curve')) >= 3, 'the curve grows');
    await page.getByRole('button', { name: 'One epoch' }).click(); /* stops */
    await page.getByRole('button', { name: 'Play' }).waitFor();
    await steps(page, 3);
    const at = await epoch(page);
    assert.equal(await page.getByRole('group', { name: 'player' }).locator('output').textContent(), `000,${String(await epoch(page)).padStart(3, '0')}`);
    await page.getByRole('button', { name: 'Start again' }).click();
    await atEpoch(page, 0);
    assert.ok(at > 0);
    assert.equal(await page.getByRole('group', { name: 'player' }).locator('output').textContent(), '000,000');
    assert.equal(await page.locator('[data-curve]').getAttribute('data-curve'), '1');
    assert.notEqual(await weight(), first, 'new weights');
    assert.equal(value(page, 'seed'), '0.12345', 'the same data');
    await steps(page, 1000);
    assert.equal(await page.getByRole('group', { name: 'player' }).locator('output').textContent(), '001,000');
}));

for (const g of goldens)
    test(`9, 29: golden run in the page: ${g.name}`, withPage(g.address, async (page) => {
        await ready(page);
        for (let i = 0; i < epochs.length; i++) {
            const more = epochs[i] - (await epoch(page));
            if (more > 0) await steps(page, more);
            for (const [k, part] of ['train', 'test'].entries()) {
                const got = await number(page, part);
                assert.ok(Math.abs(got - g.losses[i][k]) <= tolerances[i], `${part} at ${epochs[i]}: ${got}`);
                assert.equal(await page.locator(`[data-loss="${part}"]`).textContent(), g.losses[i][k].toFixed(3));
            }
        }
        /* The curve's range is what was seen. */
        assert.ok(Number(await page.locator('[data-low]').getAttribute('data-low')) <= g.losses[3][0]);
        assert.ok(Number(await page.locator('[data-high]').getAttribute('data-high')) >= g.losses[0][1]);
    }));

test('the page gives the same bytes as the engine in Node', withPage(shared[1], async (page) => {
    await ready(page);
    await steps(page, 12);
    net0(shared[1], (one) => {
        one.train(12);
        m.train = [one.loss('train'), one.loss('test')];
    });
    assert.deepEqual([await number(page, 'train'), await number(page, 'test')], m.train);
}));

test('5–8: menus, and what they start again', withPage('seed=0.12345', async (page) => {
    await ready(page);
    const options = (label) => page.getByLabel(label, { exact: true }).locator('option').allTextContents();
    assert.deepEqual(await options('Learning rate'), ['0.00001', '0.0001', '0.001', '0.003', '0.01', '0.03', '0.1', '0.3', '1', '3', '10']);
    assert.deepEqual(await options('Activation'), ['ReLU', 'Tanh', 'Sigmoid', 'Linear']);
    assert.deepEqual(await options('Regularisation'), ['None', 'L1', 'L2']);
    assert.deepEqual(await options('Regularisation rate'), ['0', '0.001', '0.003', '0.01', '0.03', '0.1', '0.3', '1', '3', '10']);
    await steps(page, 4);
    await choose(page, 'Learning rate', '0.00001');
    await hashHas(page, 'learningRate', '0.00001');
    await steps(page, 1);
    assert.equal(await epoch(page), 5, 'another rate goes on');
    for (const [label, option, name, text] of [['Activation', 'ReLU', 'activation', 'relu'], ['Regularisation', 'L1', 'regularization', 'L1'], ['Regularisation rate', '0.1', 'regularizationRate', '0.1']]) {
        await choose(page, label, option);
        await hashHas(page, name, text);
        await atEpoch(page, 0);
        await steps(page, 2);
    }
}));

test('7: L1 kills as many links as the specification says', withPage('seed=0.12345&regularization=L1&regularizationRate=0.03', async (page) => {
    await ready(page);
    await steps(page, 60);
    const want = net0('seed=0.12345&regularization=L1&regularizationRate=0.03', (one) => {
        one.train(60);
        return one.layers().map((l) => l.dead.filter(Boolean).length);
    });
    let seen = 0;
    assert.ok(want[0] + want[1] > 0);
    for (const [layer, units] of [[0, 4], [1, 2], [2, 1]])
        for (let u = 0; u < units; u++) {
            await page.locator(`[data-unit="${layer}.${u}"]`).click();
            seen += await page.getByRole('region', { name: 'Chosen unit' }).getByText('(dead)').count();
        }
    assert.equal(seen, want.reduce((a, b) => a + b));
}));

test('9–14: problem, data sets, ratio, noise, batch, regenerate', withPage('seed=0.12345', async (page) => {
    await ready(page);
    const sets = page.getByRole('radiogroup', { name: 'Data set' });
    await page.waitForFunction(() => [...document.querySelectorAll('[data-dataset] .field')].every((f) => f.dataset.shown === '200'));
    assert.equal(await sets.getByRole('radio').count(), 4);
    await steps(page, 2);
    await sets.getByRole('radio', { name: 'Circle' }).click(); /* the chosen one does nothing */
    await steps(page, 1);
    assert.equal(await epoch(page), 3);
    assert.equal(value(page, 'seed'), '0.12345');
    await sets.getByRole('radio', { name: 'Spiral' }).click();
    await hashHas(page, 'dataset', 'spiral');
    await atEpoch(page, 0);
    assert.match(value(page, 'seed'), /^0\.\d{5}$/);
    assert.notEqual(value(page, 'seed'), '0.12345');
    await choose(page, 'Problem type', 'Regression');
    await hashHas(page, 'problem', 'regression');
    await page.waitForFunction(() => document.querySelectorAll('[data-dataset]').length === 2);
    await page.waitForFunction(() => document.querySelector('.large .field').dataset.shown === '600');
    await pull(page, /Ratio of training/, 10);
    await hashHas(page, 'percTrainData', '10');
    await page.waitForFunction(() => document.querySelector('.large .field').dataset.shown === '120');
    await pull(page, 'Noise', 25);
    await hashHas(page, 'noise', '25');
    assert.equal(await page.getByRole('slider', { name: 'Noise' }).getAttribute('max'), '50');
    await pull(page, 'Batch size', 30);
    await hashHas(page, 'batchSize', '30');
    await steps(page, 2);
    const seed = value(page, 'seed');
    await page.getByRole('button', { name: 'Regenerate' }).click();
    await page.waitForFunction((old) => new URLSearchParams(location.hash.slice(1)).get('seed') !== old, seed);
    assert.match(value(page, 'seed'), /^0\.\d{5}$/);
    assert.equal(await epoch(page), 2, 'the net stays');
}));

test('12: more noise than the slider has, from the address', withPage('seed=1&noise=75', async (page) => {
    await ready(page);
    assert.equal(await page.getByRole('slider', { name: 'Noise' }).getAttribute('max'), '75');
    assert.equal(await page.getByRole('slider', { name: 'Noise' }).inputValue(), '75');
}));

test('15–17: inputs, layers, neurons', withPage('seed=0.12345', async (page) => {
    await ready(page);
    const links = () => page.locator('path.link').count();
    assert.equal(await links(), 2 * 4 + 4 * 2 + 2);
    const input = page.locator('[data-input="xSquared"]');
    assert.equal(await input.getAttribute('aria-pressed'), 'false');
    await input.click();
    await hashHas(page, 'xSquared', 'true');
    await page.waitForFunction(() => document.querySelectorAll('path.link').length === 22);
    assert.equal(await input.getAttribute('aria-pressed'), 'true');
    await input.click();
    await page.waitForFunction(() => document.querySelectorAll('path.link').length === 18);
    await page.getByRole('button', { name: 'Add a layer' }).click();
    await hashHas(page, 'networkShape', '4,2,2');
    await page.getByText('3 hidden layers').waitFor();
    await page.getByRole('button', { name: 'Layer 3: one neuron less' }).click();
    await hashHas(page, 'networkShape', '4,2,1');
    await page.getByText('1 neuron', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Layer 2: one neuron more' }).click();
    await hashHas(page, 'networkShape', '4,3,1');
    await page.getByText('3 neurons', { exact: true }).waitFor();
    for (let i = 0; i < 3; i++) await page.getByRole('button', { name: 'Take a layer away' }).click();
    await hashHas(page, 'networkShape', '');
    await page.waitForFunction(() => document.querySelectorAll('path.link').length === 2);
    for (let i = 0; i < 7; i++) await page.getByRole('button', { name: 'Add a layer' }).click();
    await hashHas(page, 'networkShape', '2,2,2,2,2,2,2'); /* the original stops at 6 */
    await page.keyboard.press('Control+z');
    await hashHas(page, 'networkShape', '2,2,2,2,2,2');
}));

test('18–19: pictures of units, shown large', withPage('seed=0.12345', async (page) => {
    await ready(page);
    await steps(page, 5);
    const { blocks, hidden, output } = net0('seed=0.12345', (one) => {
        one.train(5);
        const f = one.computeFields(100);
        return { hidden: f.slice(2 * 1e4, 3 * 1e4), output: f.slice(-1e4), blocks: one.blocks(100, 10).slice(200, 300) };
    });
    let sum = 0;
    for (let i = 30; i < 40; i++) for (let j = 70; j < 80; j++) sum += hidden[100 * i + j];
    assert.ok(Math.abs(blocks[37] - sum / 100) < 1e-6, 'a thumbnail has the means of blocks');
    const pixel = (selector, x, y) => page.locator(selector).evaluate((c, [px, py]) => [...c.getContext('2d').getImageData(px, py, 1, 1).data], [x, y]);
    close(await pixel('[data-unit="0.0"] canvas.heat', 7, 3), shade(blocks[37]), 'thumbnail');
    const large = '.large canvas.heat';
    close(await pixel(large, 20, 30), shade(output[3020]), 'output');
    await page.locator('[data-unit="0.0"]').hover();
    await page.getByText('Neuron 1 of layer 1', { exact: true }).waitFor();
    close(await pixel(large, 20, 30), shade(hidden[3020]), 'the unit shown large');
    await page.locator('h2', { hasText: 'Output' }).hover();
    await page.getByText('Output of the net', { exact: true }).waitFor();
    close(await pixel(large, 20, 30), shade(output[3020]), 'output again');
}));

/* 31 shades from #f59322 over #e8eaeb to #0877bd, alpha 160. */
function shade(v) {
    const stops = [[0xf5, 0x93, 0x22], [0xe8, 0xea, 0xeb], [0x08, 0x77, 0xbd]];
    const i = Math.min(30, Math.max(0, Math.floor(((v + 1) / 2) * 31))),
        at = i / 15,
        k = Math.min(1, Math.floor(at));
    return [...stops[k].map((c, n) => Math.round(c + (stops[k + 1][n] - c) * (at - k))), 160];
}
/* Browsers keep see-through colours multiplied by alpha, which costs a unit. */
const close = (got, wanted, what) => assert.ok(got.every((c, i) => Math.abs(c - wanted[i]) <= 1), `${what}: ${got}, wanted ${wanted}`);

test('20–24: links are as wide as their weights; weights and biases are set by hand', withPage('seed=0.12345', async (page) => {
    await ready(page);
    const width = (id) => page.locator(`path.link[data-id="${id}"]`).getAttribute('stroke-width').then(Number);
    const colour = (id) => page.locator(`path.link[data-id="${id}"]`).getAttribute('stroke');
    const weights = net0('seed=0.12345', (one) => one.layers());
    assert.ok(Math.abs((await width('0.0.0')) - (1 + (9 * Math.abs(weights[0].weights[0])) / 5)) < 0.01);
    const before = await number(page, 'test');

    await page.locator('[data-hit="0.0.0"]').dispatchEvent('pointermove', { bubbles: true });
    await page.getByRole('group', { name: 'Weight' }).getByText(Number(weights[0].weights[0].toPrecision(2)).toString()).waitFor();
    await page.locator('[data-hit="0.0.0"]').dispatchEvent('click', { bubbles: true });
    const entry = page.getByRole('group', { name: 'Weight' }).getByRole('spinbutton');
    await entry.fill('7'); /* typing applies at once */
    await page.waitForFunction((old) => Number(document.querySelector('.net').dataset.test) !== old, before);
    await entry.press('Enter');
    await entry.waitFor({ state: 'detached' });
    assert.equal(await width('0.0.0'), 10);
    assert.equal(await colour('0.0.0'), 'rgb(8 119 189)');
    await page.locator('[data-hit="0.0.0"]').dispatchEvent('click', { bubbles: true });
    await entry.fill('-2.5');
    await page.waitForFunction(() => document.querySelector('path.link[data-id="0.0.0"]').getAttribute('stroke-width') === '5.50');
    assert.equal(await colour('0.0.0'), 'rgb(245 147 34)');
    await entry.press('Enter');

    await page.locator('[data-bias="1.1"]').hover();
    await page.getByRole('group', { name: 'Bias' }).getByText('0.1', { exact: true }).waitFor();
    await page.locator('[data-bias="1.1"]').click();
    const bias = page.getByRole('group', { name: 'Bias' }).getByRole('spinbutton');
    await bias.fill('0.75');
    await bias.press('Enter');
    const want = net0('seed=0.12345', (one) => {
        one.setWeight(0, 0, 0, -2.5);
        one.setBias(1, 1, 0.75);
        const now = one.loss('test');
        one.train(3);
        return [now, one.loss('test')];
    });
    await page.waitForFunction((l) => Number(document.querySelector('.net').dataset.test) === l, want[0]);
    await steps(page, 3); /* and training goes on from there */
    assert.equal(await number(page, 'test'), want[1]);
    /* 21: dashes flow */
    assert.equal(Number(await page.locator('.network .host').evaluate((h) => h.style.getPropertyValue('--dash'))), -1);
    /* the same by keyboard: the card of a unit */
    await page.locator('[data-unit="1.0"]').focus();
    await page.keyboard.press('Enter');
    const card = page.getByRole('region', { name: 'Chosen unit' });
    assert.match(hash(page), /sel=unit:1\.0/);
    await card.getByLabel('Bias').fill('0.5');
    await card.getByLabel('Bias').press('Enter');
    const next = net0('seed=0.12345', (one) => {
        one.setWeight(0, 0, 0, -2.5);
        one.setBias(1, 1, 0.75);
        one.train(3);
        one.setBias(1, 0, 0.5);
        return one.loss('test');
    });
    await page.waitForFunction((l) => Number(document.querySelector('.net').dataset.test) === l, next);
    await page.locator('h2', { hasText: 'Output' }).click();
    await page.keyboard.press('Control+z');
    await page.waitForFunction((l) => Number(document.querySelector('.net').dataset.test) === l, want[1]);
}));

test('25–28: the field, points inside it, test data, discrete colours', withPage('seed=0.12345&dataset=gauss&noise=80', async (page) => {
    await ready(page);
    await steps(page, 20);
    const { field, train, testing } = net0('seed=0.12345&dataset=gauss&noise=80', (one) => {
        one.train(20);
        return { field: one.computeFields(100).slice(-1e4), train: one.points('train'), testing: one.points('test') };
    });
    const pixels = (list) =>
        page.locator('.large canvas.heat').evaluate((c, at) => at.map(([x, y]) => [...c.getContext('2d').getImageData(x, y, 1, 1).data]), list);
    const places = [[0, 0], [99, 99], [50, 50], [20, 70], [80, 10]];
    (await pixels(places)).forEach((p, i) => close(p, shade(field[100 * places[i][1] + places[i][0]]), `cell ${places[i]}`));
    const inside = (list) => {
        let n = 0;
        for (let i = 0; i < list.length; i += 3) n += Math.abs(list[i]) <= 6 && Math.abs(list[i + 1]) <= 6;
        return n;
    };
    const shown = () => page.locator('.large .field').getAttribute('data-shown').then(Number);
    assert.ok(inside(train) < 250, 'some lie outside');
    assert.equal(await shown(), inside(train));
    await page.getByLabel('Show test data').click();
    await hashHas(page, 'showTestData', 'true');
    await page.waitForFunction((n) => Number(document.querySelector('.large .field').dataset.shown) === n, inside(train) + inside(testing));
    await page.getByLabel('Discretise output').click();
    await hashHas(page, 'discretize', 'true');
    const colours = await page.locator('.large canvas.heat').evaluate((c) => [...new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, 100, 100).data.buffer))].length);
    assert.equal(colours, 2);
}));

test('30–31: the curve and the legend', withPage('seed=0.12345', async (page) => {
    await ready(page);
    await steps(page, 30);
    const low = Number(await page.locator('[data-low]').getAttribute('data-low')),
        high = Number(await page.locator('[data-high]').getAttribute('data-high'));
    assert.ok(low < high && high >= 0.5 && low <= (await number(page, 'test')) + 1e-12);
    await page.getByLabel('Colours from −1 to 1').waitFor();
}));

test('32: the address follows, unknown names are passed over, links of other nets open', withPage('foo=1&activation=relu&seed=0.5', async (page) => {
    await ready(page);
    await page.waitForFunction(() => location.hash.includes('networkShape=4,2'));
    assert.ok(!hash(page).includes('foo'));
    assert.equal(value(page, 'activation'), 'relu');
    for (const address of [shared[3], shared[5]]) {
        await page.evaluate((a) => (location.hash = a), address);
        const settled = m.settle(m.engine, address);
        await page.waitForFunction((s) => decodeURIComponent(location.hash.slice(1)) === s, settled);
        const want = net0(address, (one) => one.loss('train'));
        await page.waitForFunction((l) => Number(document.querySelector('.net').dataset.train) === l, want);
    }
}));

test('33: fifteen controls can be hidden, and the offered link does it', withPage('seed=0.12345', async (page) => {
    await ready(page);
    const controls = {
        showTestData: page.getByLabel('Show test data'), discretize: page.getByLabel('Discretise output'), playButton: page.getByRole('button', { name: 'Play' }),
        stepButton: page.getByRole('button', { name: 'One epoch' }), resetButton: page.getByRole('button', { name: 'Start again' }),
        learningRate: page.getByLabel('Learning rate', { exact: true }), activation: page.getByLabel('Activation', { exact: true }),
        regularization: page.getByLabel('Regularisation', { exact: true }), regularizationRate: page.getByLabel('Regularisation rate', { exact: true }),
        problem: page.getByLabel('Problem type'), dataset: page.getByRole('radiogroup', { name: 'Data set' }), percTrainData: page.getByRole('slider', { name: /Ratio of training/ }),
        noise: page.getByRole('slider', { name: 'Noise' }), batchSize: page.getByRole('slider', { name: 'Batch size' }), numHiddenLayers: page.getByRole('button', { name: 'Add a layer' }),
    };
    assert.equal(Object.keys(controls).length, 15);
    for (const [name, control] of Object.entries(controls)) assert.equal(await control.count(), 1, name);
    await page.getByRole('button', { name: 'Net', exact: true }).click();
    await page.getByRole('menuitem', { name: 'A link with fewer controls' }).click();
    const dialog = page.getByRole('dialog');
    for (const label of ['Play button', 'Noise level', 'Number of layers', 'Title and explanations']) await dialog.locator('label', { hasText: label }).click();
    await dialog.locator('[data-test="hide-link"]').click();
    await page.waitForFunction(() => location.hash.includes('playButton_hide=true') && location.hash.includes('hideText=true'));
    await ready(page);
    for (const [name, control] of Object.entries(controls))
        await control.waitFor({ state: ['playButton', 'noise', 'numHiddenLayers'].includes(name) ? 'detached' : 'visible' });
    await page.evaluate((names) => (location.hash = `seed=1&${names.map((n) => `${n}_hide=true`).join('&')}`), Object.keys(controls));
    for (const control of Object.values(controls)) await control.waitFor({ state: 'detached' });
    await ready(page);
}));

test('34: title and explanations can be left out, a tutorial takes their place', withPage('seed=1&hideText=true', async (page) => {
    await ready(page);
    assert.equal(await page.locator('.net h1').count(), 0);
    assert.equal(await page.locator('.net article').count(), 0);
    await page.evaluate(() => (location.hash = 'seed=1&tutorial=layers'));
    await page.getByRole('heading', { name: 'Why hidden layers' }).waitFor();
    await page.evaluate(() => (location.hash = 'seed=1&tutorial=nothing'));
    await page.getByText('No tutorial is called “nothing”').waitFor();
    await page.evaluate(() => (location.hash = 'seed=1'));
    await page.getByRole('heading', { name: 'What is this?' }).waitFor();
}));

test('35: another window, the same net', withPage('seed=0.12345', async (page) => {
    await ready(page);
    await steps(page, 3);
    const wide = () => page.locator('.inner').first().evaluate((e) => e.clientWidth);
    const before = await wide();
    await page.setViewportSize({ width: 1700, height: 900 });
    await page.waitForFunction((w) => document.querySelector('.inner').clientWidth > w + 100, before);
    assert.equal(await epoch(page), 3);
}));

shared.forEach((address, i) =>
    test(`36: shared link ${i + 1} opens with its loss`, withPage(address, async (page) => {
        await ready(page);
        const want = net0(address, (one) => [one.loss('train'), one.loss('test'), one.state]);
        assert.deepEqual([await number(page, 'train'), await number(page, 'test')], want.slice(0, 2));
        assert.equal(hash(page), want[2]);
    })),
);

test('own points, saving and loading, curves', withPage('seed=0.12345', async (page) => {
    await ready(page);
    const dir = mkdtempSync(join(tmpdir(), 'sightglass-page-net-'));
    try {
        const rows = Array.from({ length: 60 }, (_, i) => `${Math.cos(i) * (1 + (i % 2) * 3)},${Math.sin(i) * (1 + (i % 2) * 3)},${i % 2}`);
        writeFileSync(join(dir, 'rings.csv'), `x,y,label\n${rows.join('\n')}\n`);
        await page.getByLabel('File of own points').setInputFiles(join(dir, 'rings.csv'));
        await page.getByText('rings.csv').waitFor();
        await page.waitForFunction(() => document.querySelector('.large .field').dataset.shown === '30');
        await steps(page, 25);
        const loss = await number(page, 'test');
        const menu = async (item) => {
            await page.getByRole('button', { name: 'Net', exact: true }).click();
            const download = page.waitForEvent('download');
            await page.getByRole('menuitem', { name: item }).click();
            const got = await download;
            await got.saveAs(join(dir, got.suggestedFilename()));
            return join(dir, got.suggestedFilename());
        };
        const file = await menu('Save (safetensors)'),
            json = await menu('Save (JSON)'),
            curve = readFileSync(await menu('Losses as CSV'), 'utf8');
        assert.match(curve, /^epoch,train,test\n0,/);
        assert.ok(curve.trim().endsWith(`,${loss}`));
        for (const saved of [file, json]) {
            await page.getByRole('button', { name: 'Start again' }).click();
            await atEpoch(page, 0);
            await page.getByLabel('File of a saved net').setInputFiles(saved);
            await atEpoch(page, 25);
            assert.equal(await number(page, 'test'), loss);
        }
        writeFileSync(join(dir, 'bad.csv'), 'x,y,label\n1,2\n');
        await page.getByLabel('File of own points').setInputFiles(join(dir, 'bad.csv'));
        await page.getByRole('alert').getByText('bad.csv: line 2').waitFor();
        assert.equal(await number(page, 'test'), loss, 'what was there stays');
    } finally {
        rmSync(dir, { recursive: true, force: true });
    }
}));

test('other optimisers stand in the link and learn', withPage('seed=0.12345', async (page) => {
    await ready(page);
    await choose(page, 'Optimiser', 'Adam');
    await hashHas(page, 'optimizer', 'adam');
    await atEpoch(page, 0);
    await steps(page, 40);
    assert.ok((await number(page, 'train')) < 0.3);
    await choose(page, 'Optimiser', 'Plain');
    await page.waitForFunction(() => !location.hash.includes('optimizer'));
}));

test('training draws, and says how fast', withPage('seed=0.12345', async (page, site, t) => {
    await ready(page);
    await page.getByRole('button', { name: 'Play' }).click();
    await page.waitForFunction(() => Number(document.querySelector('.net').dataset.rate) > 0);
    await atEpoch(page, 60, true);
    const rate = await number(page, 'rate');
    t.diagnostic(`${rate.toFixed(1)} epochs a second with drawing`);
    record('train-net', { epochs_per_second: rate });
    await page.getByTitle('Speed').selectOption({ label: 'as fast as it goes' });
    await atEpoch(page, 2000, true);
    await page.getByRole('button', { name: 'Pause' }).click();
}));

checkPlace({
    route: '/inspect/net',
    name: 'inspect-net',
    ready: (page) => page.locator('[data-ready="true"] [data-value="output"]').waitFor(),
    gesture: async (page) => {
        await page.getByLabel('Value', { exact: true }).selectOption('layers.0.hook_post');
        await page.getByRole('slider', { name: 'Unit 2' }).fill('0');
        await page.locator('[data-output]').waitFor();
        await page.waitForFunction(() => location.hash.includes('scale=1,0'));
    },
    state: (page) => page.locator('[data-output]').getAttribute('data-output'),
    reach: ['X₁', 'Target', 'Value'],
});

test('a trained net opens in Inspect and comes back', withPage('seed=0.12345', async (page) => {
    await ready(page);
    await steps(page, 40);
    await page.getByRole('button', { name: 'Net', exact: true }).click();
    await page.getByRole('menuitem', { name: 'Open in Inspect' }).click();
    await page.locator('[data-value="output"]').waitFor();
    const { output, slope } = net0('seed=0.12345', (one) => {
        one.train(40);
        const look = one.look();
        const got = { output: one.output(1, 2), slope: look.fetch('layers.1.hook_pre', Float32Array.of(1, 2), Float32Array.of(1), true)[0] };
        look.free();
        return got;
    });
    const shown = async (name, column) => Number((await page.locator(`[data-value="${name}"] td:nth-of-type(${column}) .cell`).first().textContent()).replace('−', '-'));
    await page.waitForFunction(() => location.hash.includes('&w='));
    assert.ok(Math.abs((await shown('output', 2)) - output) < 1e-3);
    assert.ok(Math.abs((await shown('layers.1.hook_pre', 3)) - slope) <= 1e-3 * Math.abs(slope) + 1e-6);
    await page.getByRole('button', { name: 'Back to Train ▸ net' }).click();
    await ready(page);
    assert.equal(await epoch(page), 40);
}));
