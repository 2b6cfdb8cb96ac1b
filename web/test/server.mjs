/* `sightglass serve` for tests that need no browser, and so run on any Node that the page is built with. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const build = process.env.SG_BUILD ?? join(root, 'build');
export const shared = process.env.SIGHTGLASS_SHARED ?? join(root, '../shared');

/** A model by its path below the tree or the folder of shared data; null where it is not. */
export function model(path) {
    const found = [join(root, path), join(shared, path)].find((m) => existsSync(join(m, 'config.json')));
    return found ?? null;
}

/** Starts a server of these models on a free port and a fresh workspace; stop() resolves with its exit status. */
export async function serve(models, args = []) {
    const workspace = mkdtempSync(join(tmpdir(), 'sightglass-serve-'));
    const child = spawn(join(build, 'sightglass'), ['serve', ...models, '--port', '0', '--workspace', workspace, ...args], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { OMP_NUM_THREADS: '1', ...process.env, OMP_WAIT_POLICY: 'passive' },
    });
    const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)));
    let said = '';
    const url = await new Promise((resolve, reject) => {
        const hear = (chunk) => {
            said += chunk;
            const found = /https?:\/\/\S+\?token=[\w.-]+/.exec(said);
            if (found) resolve(found[0]);
        };
        child.stdout.on('data', hear);
        child.stderr.on('data', hear);
        child.on('error', reject);
        void ended.then((code) => reject(new Error(`sightglass serve ended with ${code}:\n${said}`)));
    });
    return {
        base: new URL('/', url).href,
        token: new URL(url).searchParams.get('token'),
        async stop() {
            child.kill('SIGTERM');
            const code = await ended;
            rmSync(workspace, { recursive: true, force: true });
            return code;
        },
    };
}
