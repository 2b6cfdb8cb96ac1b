/* The GAN outside the page, for its tests: the page's own engine in Node, and the native command. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { build as built, root } from './place.mjs';

const program = join(built, 'sightglass');

/** gan.ts and what loads the engine, for Node. */
export async function engineModules() {
    const outdir = join(built, 'wasm/test');
    mkdirSync(outdir, { recursive: true });
    await build({ entryPoints: ['gan', 'wasm'].map((f) => join(root, `web/src/engine/${f}.ts`)), outdir, bundle: true, format: 'esm', outExtension: { '.js': '.mjs' }, target: 'es2022', logLevel: 'error' });
    const modules = await Promise.all(['gan', 'wasm'].map((f) => import(pathToFileURL(join(outdir, `${f}.mjs`)).href)));
    return { ...modules[0], load: modules[1].load };
}

/** The command, and its JSON. */
export function native(...args) {
    const run = spawnSync(program, ['gan', ...args.map(String)], { encoding: 'utf8', maxBuffer: 1e8, env: { ...process.env, OMP_NUM_THREADS: '1' } });
    assert.equal(run.status, 0, `${args.join(' ')}: ${run.stderr}`);
    return run.stdout;
}
