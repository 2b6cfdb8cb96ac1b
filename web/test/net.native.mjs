/* The Playground outside the page, for its tests: the page's own engine in Node, and the native command. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { build as built, root } from './place.mjs';

/** net.ts and what loads the engine, for Node. */
export async function engineModules() {
    const outdir = join(built, 'wasm/test');
    mkdirSync(outdir, { recursive: true });
    await build({ entryPoints: ['net', 'wasm'].map((f) => join(root, `web/src/engine/${f}.ts`)), outdir, bundle: true, format: 'esm', outExtension: { '.js': '.mjs' }, target: 'es2022', logLevel: 'error' });
    const [net, wasm] = await Promise.all(['net', 'wasm'].map((f) => import(pathToFileURL(join(outdir, `${f}.mjs`)).href)));
    return { ...net, engine: await wasm.load(join(built, 'wasm/sightglass.wasm')) };
}

export function command(...args) {
    const run = spawnSync(join(built, 'sightglass'), args.map(String), { encoding: 'utf8', maxBuffer: 1e8, env: { ...process.env, OMP_NUM_THREADS: '1' } });
    assert.equal(run.status, 0, `${args.join(' ')}: ${run.stderr}`);
    return run.stdout;
}

/** `sightglass net run`, and its JSON. */
export const native = (hash, epochs, ...args) => JSON.parse(command('net', 'run', '--hash', hash, '--epochs', epochs, '--json', ...args));

/** Golden runs of the original, seed 0.12345: losses on the training and the test points after 0, 1, 100 and 300 epochs. */
export const goldens = [
    { name: 'default', address: 'seed=0.12345', losses: [[0.5015807429602891, 0.5181059111177386], [0.49635937670035557, 0.5094232758604605], [0.00889784142890691, 0.01144976196033489], [0.0011371088291601413, 0.0017708485797291757]] },
    { name: 'xor, relu', address: 'seed=0.12345&dataset=xor&activation=relu', losses: [[0.5047024361533589, 0.49501569376380844], [0.4813218939274627, 0.47754842660461516], [0.0022953345494716895, 0.005929366361889284], [0.0005865862093493228, 0.0027569593688171637]] },
    {
        name: 'spiral, all inputs',
        address: 'seed=0.12345&dataset=spiral&xSquared=true&ySquared=true&xTimesY=true&sinX=true&sinY=true&networkShape=8,4&noise=0',
        losses: [[0.5120610836837864, 0.5231617622438327], [0.5043839634691887, 0.5131882708587416], [0.14811332382073752, 0.28892470969659206], [0.02478356702186554, 0.16593615911299528]],
    },
    { name: 'regression', address: 'seed=0.12345&problem=regression', losses: [[0.16481137372699767, 0.16875411387943462], [0.056478763929344034, 0.05673608724525803], [0.00039888191729263195, 0.00044652561439989513], [0.00012285422997282517, 0.00014293681921273706]] },
];
export const epochs = [0, 1, 100, 300];
/* The specification allows 1e-9, 1e-9, 1e-6 and 1e-5; sums in another order would already need more than that on the spiral. */
export const tolerances = [1e-15, 1e-15, 1e-15, 1e-15];

/** Addresses of the kind that people share, with every option of the original among them. */
export const shared = [
    'activation=tanh&batchSize=10&dataset=circle&regDataset=reg-plane&learningRate=0.03&regularizationRate=0&noise=0&networkShape=4,2&seed=0.58321&showTestData=false&discretize=false&percTrainData=50&x=true&y=true&xTimesY=false&xSquared=false&ySquared=false&cosX=false&sinX=false&cosY=false&sinY=false&collectStats=false&problem=classification&initZero=false&hideText=false',
    'activation=relu&regularization=L1&batchSize=10&dataset=spiral&regDataset=reg-plane&learningRate=0.03&regularizationRate=0.001&noise=0&networkShape=8,8,6&seed=0.71864&showTestData=false&discretize=false&percTrainData=70&x=true&y=true&xTimesY=true&xSquared=true&ySquared=true&cosX=false&sinX=true&cosY=false&sinY=true&collectStats=false&problem=classification&initZero=false&hideText=false',
    'activation=linear&batchSize=10&dataset=gauss&regDataset=reg-plane&learningRate=0.03&regularizationRate=0&noise=0&networkShape=1&seed=0.36911&showTestData=false&discretize=false&percTrainData=50&x=true&y=true&problem=classification&initZero=false&hideText=true&problem_hide=true&playButton_hide=false&regularization_hide=true',
    'activation=sigmoid&regularization=L2&batchSize=30&dataset=xor&learningRate=0.1&regularizationRate=0.003&noise=25&networkShape=3&seed=0.05512&showTestData=true&discretize=true&percTrainData=80&x=false&y=false&xTimesY=true&problem=classification',
    'activation=relu&batchSize=1&dataset=circle&regDataset=reg-gauss&learningRate=0.01&noise=10&networkShape=6,5,4,3,2,2&seed=0.90341&percTrainData=50&x=true&y=true&problem=regression&initZero=false&hideText=false',
    'activation=tanh&batchSize=17&regDataset=reg-plane&learningRate=0.003&noise=50&networkShape=&seed=0.22222&percTrainData=10&x=true&y=true&sinX=true&problem=regression&numHiddenLayers_hide=true',
    'activation=tanh&regularization=L2&batchSize=25&dataset=circle&learningRate=3&regularizationRate=0.01&noise=0&networkShape=&seed=hello&percTrainData=90&x=false&y=false&xSquared=true&ySquared=true&collectStats=true&problem=classification',
    'dataset=spiral&noise=35&networkShape=8,8,8,8,8,8&seed=0.44444&learningRate=0.00001&activation=relu&tutorial=&cosX=true&cosY=true',
    'dataset=gauss&noise=80&networkShape=2,8&seed=1&regularization=L1&regularizationRate=10&learningRate=10&percTrainData=30&initZero=true',
    'foo=bar&noise=120&batchSize=30&dataset=nothing&networkShape=5&seed=0.66666&x=&y=true&sinY=true&ySquared=false&problem=regression&regDataset=reg-gauss&activation=sigmoid',
];
