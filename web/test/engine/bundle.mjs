/* The engine's TypeScript as one module that Node and a browser can load, in build/wasm/test/. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

export const root = fileURLToPath(new URL('../../..', import.meta.url));
export const folder = join(root, 'build/wasm/test');
export const wasm = join(root, 'build/wasm/sightglass.wasm');

export async function bundle() {
    mkdirSync(folder, { recursive: true });
    const outfile = join(folder, 'engine.mjs');
    await build({
        entryPoints: [fileURLToPath(new URL('interpret.mjs', import.meta.url))],
        outfile,
        bundle: true,
        format: 'esm',
        target: 'es2022',
        logLevel: 'error',
    });
    return import(pathToFileURL(outfile).href);
}
