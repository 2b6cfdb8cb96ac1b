/* The engine, compiled once for the whole page. Workers are handed the module:
 *
 *     import NetWorker from '../engine/net.worker?worker&inline';
 *     const worker = new NetWorker();
 *     worker.postMessage({ module: await engineModule() });   // there: load(module)
 *
 * Behind a server it is a file beside the page. In the build for plain files its bytes lie in a script, for browsers let no
 * page opened from a file read another file. */
let compiled: Promise<WebAssembly.Module> | null = null;

export function engineModule(): Promise<WebAssembly.Module> {
    compiled ??= compile().catch((e: unknown) => {
        compiled = null; /* the next one tries again */
        throw e;
    });
    return compiled;
}

async function compile(): Promise<WebAssembly.Module> {
    if (typeof sightglassEngine === 'string') {
        const text = atob(sightglassEngine);
        return WebAssembly.compile(Uint8Array.from(text, (c) => c.charCodeAt(0)));
    }
    const response = await fetch(new URL('sightglass.wasm', document.baseURI), { credentials: 'same-origin' });
    if (!response.ok) throw new Error(`the engine's file sightglass.wasm is not there (HTTP ${response.status})`);
    return WebAssembly.compile(await response.arrayBuffer());
}
