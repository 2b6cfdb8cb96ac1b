/* Checks that the page runs by itself: what must come out, what came out, and a control that must fail. */
import { Gan, See, defaults, shapes, type Shape } from '../../engine/gan';
import { engineModule } from '../../engine/module';
import { Net } from '../../engine/net';
import { load } from '../../engine/wasm';
import type { Origin } from '../../origin';
import { preset } from '../gan/presets';
import { client } from '../model/client';

export interface Row {
    group: string;
    link?: string; /* "#..." where the group can be seen */
    what: string;
    wanted: string;
    measured: string;
    holds: boolean;
    control?: boolean;
}

export interface Check {
    intro: string;
    wanted: string;
    server?: boolean;
    rows: number;
    run: (add: (row: Row) => void) => Promise<Origin>;
}

/* The page stays alive between parts. */
const breathe = (): Promise<void> => new Promise((resolve) => setTimeout(resolve));

/* ---- the Playground: losses on training and test points, computed from the original code (tensorflow/playground) ---- */

const epochs = [0, 1, 100, 300];
const within = [1e-9, 1e-9, 1e-6, 1e-5];
// prettier-ignore
const nets = [
    { title: 'the default net', state: 'seed=0.12345',
      losses: [[0.5015807429602891, 0.5181059111177386], [0.49635937670035557, 0.5094232758604605], [0.00889784142890691, 0.01144976196033489], [0.0011371088291601413, 0.0017708485797291757]] },
    { title: 'exclusive or, with ReLU', state: 'activation=relu&dataset=xor&seed=0.12345',
      losses: [[0.5047024361533589, 0.49501569376380844], [0.4813218939274627, 0.47754842660461516], [0.0022953345494716895, 0.005929366361889284], [0.0005865862093493228, 0.0027569593688171637]] },
    { title: 'the spiral, all inputs, 8 and 4 units', state: 'dataset=spiral&networkShape=8,4&seed=0.12345&x=true&y=true&xTimesY=true&xSquared=true&ySquared=true&sinX=true&sinY=true',
      losses: [[0.5120610836837864, 0.5231617622438327], [0.5043839634691887, 0.5131882708587416], [0.14811332382073752, 0.28892470969659206], [0.02478356702186554, 0.16593615911299528]] },
    { title: 'regression on a plane', state: 'regDataset=reg-plane&seed=0.12345&problem=regression',
      losses: [[0.16481137372699767, 0.16875411387943462], [0.056478763929344034, 0.05673608724525803], [0.00039888191729263195, 0.00044652561439989513], [0.00012285422997282517, 0.00014293681921273706]] },
];

const playground: Check = {
    intro: 'Four nets are trained here, in this page, for 300 epochs each, and their losses are held against those of the original program, which started from the same seed.',
    wanted: 'Within 10⁻⁹ at the start and after one epoch, 10⁻⁶ after 100, 10⁻⁵ after 300. The control is the default net from another seed.',
    rows: 34,
    async run(add) {
        const began = performance.now();
        const engine = await load(await engineModule());
        for (const spec of [...nets, { ...nets[0], title: 'another seed', state: 'seed=0.54321' }]) {
            const control = spec.title === 'another seed';
            const net = Net.create(engine, spec.state);
            try {
                for (const [i, epoch] of epochs.entries()) {
                    if (control && i > 0) break;
                    while (net.epoch < epoch) {
                        net.train(Math.min(10, epoch - net.epoch));
                        await breathe();
                    }
                    for (const [k, part] of (['train', 'test'] as const).entries()) {
                        const measured = net.loss(part),
                            near = Math.abs(measured - spec.losses[i][k]) <= within[i];
                        add({
                            group: spec.title,
                            link: `#${spec.state}`,
                            what: `loss on ${k === 0 ? 'training' : 'test'} points, epoch ${epoch}`,
                            wanted: control ? `not ${spec.losses[i][k].toPrecision(13)}` : spec.losses[i][k].toPrecision(13),
                            measured: measured.toPrecision(13),
                            holds: control ? !near : near,
                            control,
                        });
                    }
                }
            } finally {
                net.free();
            }
        }
        return { where: 'page', seed: '0.12345', seconds: (performance.now() - began) / 1000, when: Date.now() };
    },
};

/* ---- GAN Lab: the arrows are the discriminator's gradient, and the shipped generators have learnt ---- */

/* The share of points whose arrow is what D's differences say, to 2 % of the longest. D is made of flat pieces: where the slopes to
 * the left and to the right differ, a point lies on an edge, has no gradient, and is left out. */
function agreeing(judge: Gan, arrowsOf: Gan, points: Float32Array): { share: number; asked: number } {
    const h = 1e-3;
    const arrows = arrowsOf.judge(points).arrows,
        middle = judge.judge(points).d;
    const moved = (axis: number, by: number): Float32Array => judge.judge(points.map((v, i) => (i % 2 === axis ? v + by : v))).d;
    const sides = [0, 1].map((axis) => ({ up: moved(axis, h), down: moved(axis, -h) }));
    const all = Array.from(middle, (d, i) => ({
        i,
        slope: sides.map((s) => (s.up[i] - s.down[i]) / (2 * h)),
        bend: Math.hypot(...sides.map((s) => (s.up[i] - 2 * d + s.down[i]) / h)),
    }));
    const near = 0.02 * Math.max(...all.map((p) => Math.hypot(...p.slope)));
    const asked = all.filter((p) => p.bend <= near);
    const good = asked.filter((p) => Math.hypot(p.slope[0] - arrows[2 * p.i], p.slope[1] - arrows[2 * p.i + 1]) <= near);
    return { share: good.length / asked.length, asked: asked.length };
}

const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;

const gan: Check = {
    intro: 'Each GAN that comes with the page is opened here. Its arrows at 150 generated points are held against differences of the discriminator itself, and its samples against those of a generator that has not learnt.',
    wanted: 'Arrows: within 2 % of the longest, wherever the discriminator has a gradient; the arrows of an untrained discriminator must not do. Samples: their Jensen-Shannon divergence from the data lower than the untrained one’s by at least 0.1.',
    rows: 3 * 4,
    async run(add) {
        const began = performance.now(),
            seed = 19;
        const engine = await load(await engineModule());
        for (const shape of shapes) {
            const file = preset(shape as Shape);
            if (!file) continue;
            const trained = Gan.open(engine, file.json, file.files, file.name, seed);
            const fresh = Gan.create(engine, { ...defaults(), ...trained.options, seed });
            try {
                const group = { group: `the shipped GAN “${shape}”`, link: '#/train/gan' };
                const points = trained.generate(trained.noise());
                const own = agreeing(trained, trained, points);
                await breathe();
                const other = agreeing(trained, fresh, points);
                add({ ...group, what: 'arrows that are ∂D/∂x', wanted: 'at least 99 % of at least 100', measured: `${percent(own.share)} of ${own.asked}`, holds: own.share >= 0.99 && own.asked >= 100 });
                add({ ...group, what: 'arrows of an untrained discriminator', wanted: 'less than 50 %', measured: percent(other.share), holds: other.share < 0.5, control: true });
                await breathe();
                const js = trained.look(See.samples | See.metrics).js,
                    before = fresh.look(See.samples | See.metrics).js;
                add({ ...group, what: 'divergence of the samples from the data, in bits', wanted: `at most ${(before - 0.1).toFixed(3)} (untrained: ${before.toFixed(3)})`, measured: js.toFixed(3), holds: js <= before - 0.1 });
            } finally {
                trained.free();
                fresh.free();
            }
            await breathe();
        }
        return { where: 'page', seed, seconds: (performance.now() - began) / 1000, when: Date.now() };
    },
};

/* ---- the glass: looking changes nothing, and edits do what they say ---- */

const glass: Check = {
    intro: 'The first model that the server has reads a short prompt, with and without edits.',
    wanted: 'An edit that changes nothing changes no prediction, to the last bit; the same edit that does change something is the control. What the lens reads after the last block is what the model predicts, to 10⁻⁵; before the first block it is not.',
    server: true,
    rows: 5,
    async run(add) {
        const began = performance.now();
        const model = (await client.models())[0];
        if (!model) throw new Error('the server has no model');
        const info = await client.sites(model);
        const prompt = { text: info.prompt === 'text' ? 'Once upon a time, there was a little girl' : 'f5 f6 e6 f4' };
        const site = `blocks.${Math.floor(info.layers / 2)}.hook_resid_post`;
        const group = { group: model, link: `#/inspect/model?model=${model}` };
        const scaled = (strength: number) => client.run(model, { prompt, edits: [{ site, op: 'scale', strength }] });
        const most = (list: readonly (number | null)[] | null): number => Math.max(0, ...(list ?? []).map((v) => v ?? Infinity));
        const short = (x: number): string => (x === 0 ? '0' : x.toPrecision(3));

        const plain = await client.run(model, { prompt });
        const again = await client.run(model, { prompt });
        const same = JSON.stringify(plain.rows) === JSON.stringify(again.rows);
        add({ ...group, what: 'the same run twice', wanted: 'the same numbers', measured: same ? 'the same numbers' : 'other numbers', holds: same });
        const nothing = most((await scaled(1)).divergence);
        add({ ...group, what: `${site} times 1: divergence from the unedited, in nats`, wanted: '0', measured: short(nothing), holds: nothing === 0 });
        const something = most((await scaled(0.5)).divergence);
        add({ ...group, what: 'times 0.5', wanted: 'more than 0', measured: short(something), holds: something > 0, control: true });

        const lens = await client.lens(model, plain.run, { first: plain.first, n: plain.n, top: plain.k, token: String(plain.rows[0].ids[0]) });
        const row = plain.rows[0];
        const apart = (r: { ids: number[]; p: (number | null)[] }): number => {
            let worst = 0;
            for (let i = 0; i < lens.n; i++) {
                const id = r.ids[i * lens.k],
                    p = r.p[i * lens.k] ?? NaN;
                const at = (i + lens.first - plain.first) * plain.k;
                worst = Math.max(worst, id === row.ids[at] ? Math.abs(p - (row.p[at] ?? NaN)) : 1);
            }
            return worst;
        };
        const last = apart(lens.rows[lens.rows.length - 1]),
            first = apart(lens.rows[0]);
        add({ ...group, what: 'lens after the last block: likeliest token’s probability, apart from the prediction', wanted: 'at most 1e-5', measured: short(last), holds: last <= 1e-5 });
        add({ ...group, what: 'lens before the first block', wanted: 'more than 0.01', measured: short(first), holds: first > 0.01, control: true });
        return { ...plain.origin, seconds: (performance.now() - began) / 1000, when: Date.now() };
    },
};

export const checks: Record<'playground' | 'gan' | 'glass', Check> = { playground, gan, glass };
export type CheckName = keyof typeof checks;
