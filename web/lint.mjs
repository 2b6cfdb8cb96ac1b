/* npm run lint: what the page's files may not do. Exit status 1 if one does.
 *
 *   drawing   <svg, <canvas and d3 only in src/components: no place draws its own chart
 *   fetching  fetch, EventSource, XMLHttpRequest, WebSocket only in src/api.ts (and the engine's file in src/engine/)
 *   outside   no address of another machine, anywhere
 *   workers   imported with ?worker&inline, without which the page built for plain files could not start them
 *   running   no eval, no new Function, no {@html}: what links and files hold is never run */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(fileURLToPath(import.meta.url));

/* Names of other machines that are only names: namespaces of XML, and the addresses of this one. */
const harmless = /^https?:\/\/(www\.w3\.org\/(2000\/svg|1999\/xlink|1999\/xhtml)|127\.0\.0\.1|localhost)(?![\w.])/;

const rules = [
    { name: 'drawing', pattern: /<(svg|canvas)\b|createElement(NS)?\([^)]*['"](svg|canvas)['"]|from ['"]d3-|from ['"]regl['"]|new OffscreenCanvas/g, allowed: /^src\/components\// },
    { name: 'fetching', pattern: /(?<![\w.])fetch\(|new (EventSource|XMLHttpRequest|WebSocket)\b|sendBeacon\(/g, allowed: /^src\/(api\.ts$|engine\/)/ },
    { name: 'outside', pattern: /https?:\/\/[^\s'"`<>)]+/g, but: (text) => harmless.test(text), allowed: null },
    { name: 'workers', pattern: /new Worker\(/g, allowed: null },
    { name: 'running', pattern: /(?<![\w.])eval\(|new Function\(|\{@html\b/g, allowed: null },
];

/* Comments may say what code may not do. */
function code(text, file) {
    const blank = (c) => c.replace(/[^\n]/g, ' ');
    let s = text.replace(/\/\*[\s\S]*?\*\//g, blank).replace(/<!--[\s\S]*?-->/g, blank);
    if (!file.endsWith('.css')) s = s.replace(/(^|\s)\/\/ .*$/gm, blank);
    return s;
}

function files(dir) {
    return readdirSync(dir, { withFileTypes: true }).flatMap((e) =>
        e.isDirectory() ? files(join(dir, e.name)) : /\.(ts|js|svelte|css|html)$/.test(e.name) ? [join(dir, e.name)] : [],
    );
}

export function lint(file, text) {
    const found = [];
    const plain = code(text, file);
    for (const rule of rules) {
        if (rule.allowed?.test(file)) continue;
        for (const match of plain.matchAll(rule.pattern)) {
            if (rule.but?.(match[0])) continue;
            const line = plain.slice(0, match.index).split('\n').length;
            found.push(`web/${file}:${line}: ${rule.name}: ${match[0].trim()}`);
        }
    }
    return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
    const all = [...files(join(root, 'src')), ...files(join(root, 'public')), join(root, 'index.html')];
    const found = all.flatMap((path) => lint(relative(root, path), readFileSync(path, 'utf8')));
    for (const line of found) console.error(line);
    if (found.length > 0) console.error(`${found.length} against the rules that web/lint.mjs opens with`);
    process.exitCode = found.length > 0 ? 1 : 0;
}
