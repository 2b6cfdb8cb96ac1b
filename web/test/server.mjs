/* `sightglass serve` for tests and benches, with no browser in sight. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const build = process.env.SG_BUILD ?? join(root, 'build');
export const shared = process.env.SIGHTGLASS_SHARED ?? join(root, '../shared');
/* Milliseconds. Generous: a machine with two busy cores is no failure. */
export const PATIENCE = Number(process.env.SG_PATIENCE ?? 60_000);

/** A model by its path below the tree or the folder of shared data; null where it is not. */
export function model(path) {
    const found = [join(root, path), join(shared, path)].find((m) => existsSync(join(m, 'config.json')));
    return found ?? null;
}

/** The models that come with the tree, and a small one from outside it where that is. */
export function models() {
    return ['models/othello6', 'models/othello8', 'models/stories260K'].map(model).filter((m) => m !== null);
}

/** Starts a server of these models on a free port and, where none is given, a fresh workspace; stop() resolves with its exit status. */
export async function serve(folders = models(), { args = [], workspace } = {}) {
    const own = workspace ? null : mkdtempSync(join(tmpdir(), 'sightglass-serve-'));
    const child = spawn(join(build, 'sightglass'), ['serve', ...folders, '--port', '0', '--workspace', workspace ?? own, ...args], {
        cwd: root,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { OMP_NUM_THREADS: '1', ...process.env, OMP_WAIT_POLICY: 'passive', XDG_DATA_HOME: workspace ?? own },
    });
    let said = '';
    const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)));
    const url = await new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no address after ${PATIENCE / 1000} s; it said:\n${said}`)), PATIENCE);
        const hear = (chunk) => {
            said += chunk;
            const found = /https?:\/\/[^\s"']+\?token=[\w.-]+/.exec(said);
            if (found) {
                clearTimeout(timer);
                resolve(found[0]);
            }
        };
        child.stdout.on('data', hear);
        child.stderr.on('data', hear);
        child.on('error', reject);
        void ended.then((code) => {
            clearTimeout(timer);
            reject(new Error(`sightglass serve ended with ${code}:\n${said}`));
        });
    });
    return {
        url,
        base: new URL('/', url).href,
        token: new URL(url).searchParams.get('token'),
        pid: child.pid,
        get said() {
            return said;
        },
        async stop() {
            child.kill('SIGTERM');
            const code = await ended;
            if (own) rmSync(own, { recursive: true, force: true });
            return code;
        },
    };
}
