/* Two builds of one page: `vite build` makes what the server serves, `vite build --mode site` what works from plain files.
 *
 * Browsers refuse modules, workers and fetch from file://, so the site is one classic script; its workers travel inside it
 * as text (every worker here is imported with ?worker&inline), and the engine's bytes lie in a script of their own. */
import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
const wasm = path('../build/wasm/sightglass.wasm');

/* While developing, the engine comes from where scripts/build-wasm put it. */
function engine(): Plugin {
    return {
        name: 'engine',
        configureServer(server) {
            server.middlewares.use('/sightglass.wasm', (_request, response) => {
                if (!existsSync(wasm)) {
                    response.statusCode = 404;
                    response.end('scripts/build-wasm makes it');
                    return;
                }
                response.setHeader('Content-Type', 'application/wasm');
                createReadStream(wasm).pipe(response);
            });
        },
    };
}

/* The committed reports of studies, one module each: virtual:report/NAME. virtual:reports has all of their claims. */
function reports(): Plugin {
    const folder = path('../studies/reports');
    const read = (name: string): Record<string, unknown> => JSON.parse(readFileSync(`${folder}/${name}.json`, 'utf8')) as Record<string, unknown>;
    return {
        name: 'reports',
        resolveId: (id) => (id === 'virtual:reports' ? `\0${id}` : undefined),
        load(id) {
            if (id !== '\0virtual:reports') return undefined;
            const names = readdirSync(folder)
                .filter((f) => f.endsWith('.json'))
                .map((f) => f.slice(0, -5));
            const all = names.map((name) => {
                this.addWatchFile(`${folder}/${name}.json`);
                return { ...read(name), figures: undefined };
            });
            /* As text: engines read JSON faster than code. */
            return `export default JSON.parse(${JSON.stringify(JSON.stringify(all))});`;
        },
    };
}

/* The site's one script is a classic one. It stands at the end of the body, since defer is not needed there. */
function classicScript(): Plugin {
    return {
        name: 'classic-script',
        enforce: 'post',
        transformIndexHtml: {
            order: 'post',
            handler(html) {
                const tag = /\s*<script type="module"[^>]*src="([^"]+)"[^>]*><\/script>/;
                const source = tag.exec(html)?.[1];
                if (!source) throw new Error('index.html has no module script');
                return html
                    .replace(tag, '')
                    .replace(/ crossorigin/g, '')
                    .replace('</body>', `    <script src="./engine.js"></script>\n        <script src="${source}"></script>\n    </body>`);
            },
        },
    };
}

export default defineConfig(({ mode }) => {
    const site = mode === 'site',
        gallery = mode === 'gallery'; /* all components on one page, for tests */
    const server = process.env['SIGHTGLASS']; /* SIGHTGLASS=http://127.0.0.1:PORT npm run dev: on a server that runs */
    return {
        base: './',
        define: { __SITE__: JSON.stringify(site || gallery) },
        plugins: [svelte(), engine(), reports(), ...(site ? [classicScript()] : [])],
        server: {
            host: '127.0.0.1',
            proxy: server ? { '^/(api|v1|health|metrics)': { target: server, headers: { origin: server } } } : undefined,
        },
        build: {
            outDir: path(`../build/${site ? 'site' : gallery ? 'gallery' : 'page'}`),
            emptyOutDir: true,
            target: 'es2022',
            modulePreload: { polyfill: false },
            reportCompressedSize: false,
            assetsInlineLimit: 0,
            chunkSizeWarningLimit: 1500, /* the site is one script on purpose */
            rollupOptions: site ? { output: { format: 'iife', inlineDynamicImports: true } } : gallery ? { input: path('test/gallery/index.html') } : {},
        },
        worker: { format: 'iife' },
    };
});
