/* The engine in the page: instantiates sightglass.wasm and hands out its memory, its texts and its errors.
 *
 *     const engine = await load(new URL('sightglass.wasm', location.href));
 *     const p = engine.alloc(8 * n);
 *     engine.f64(p, n).set(numbers);
 *     engine.check(engine.call('net_step', net, p, n));   // throws EngineError with the engine's own words
 *     engine.free(p);
 *
 * It runs wherever WebAssembly does: in a worker, in the page, in Node. One engine is one thread and one memory.
 * An array made by f32() and the like is a window on that memory; the memory may grow in any call, and then the window is
 * empty. So take a fresh one after each call (it costs nothing), or hold a View, which does so by itself. */

export type Pointer = number;

/** What the engine refused to do, in its own words. `status` is an sg_status. */
export class EngineError extends Error {
    readonly status: number;

    constructor(text: string, status: number) {
        super(text);
        this.name = 'EngineError';
        this.status = status;
    }
}

const arrays = {
    f32: Float32Array,
    f64: Float64Array,
    i32: Int32Array,
    u32: Uint32Array,
    u16: Uint16Array,
    u8: Uint8Array,
} as const;
export type ArrayKind = keyof typeof arrays;
export type ArrayOf<K extends ArrayKind> = InstanceType<(typeof arrays)[K]>;

/** Numbers in the engine's memory, found again after the memory grew. */
export class View<K extends ArrayKind> {
    readonly pointer: Pointer;
    readonly length: number;
    readonly kind: K;
    private readonly engine: Engine;
    private window: ArrayOf<K>;

    constructor(engine: Engine, kind: K, pointer: Pointer, length: number) {
        this.engine = engine;
        this.kind = kind;
        this.pointer = pointer;
        this.length = length;
        this.window = engine.window(kind, pointer, length);
    }

    /** Valid until the next call into the engine. */
    get array(): ArrayOf<K> {
        if (this.window.buffer !== this.engine.memory.buffer)
            this.window = this.engine.window(this.kind, this.pointer, this.length);
        return this.window;
    }
}

type Export = (...args: number[]) => number;

const SUCCESS = 0,
    BAD_FILE = 8,
    NOT_THERE = 52; /* errno numbers of WASI */

export class Engine {
    readonly memory: WebAssembly.Memory;
    private readonly exports: WebAssembly.Exports;
    private readonly output: { said: string };

    constructor(instance: WebAssembly.Instance, output: { said: string }) {
        this.exports = instance.exports;
        this.memory = this.exports['memory'] as WebAssembly.Memory;
        this.output = output;
        (this.exports['_initialize'] as (() => void) | undefined)?.();
    }

    /** Calls an export by its name. What comes back is a number; check() or pointer() tell whether it was a failure. */
    call(name: string, ...args: number[]): number {
        const f = this.exports[name] as Export | undefined;
        if (typeof f !== 'function') throw new EngineError(`the engine has no function "${name}"`, 1);
        return this.guard(() => f(...args));
    }

    /** An export as a function, for inner loops. */
    get(name: string): Export {
        const f = this.exports[name] as Export | undefined;
        if (typeof f !== 'function') throw new EngineError(`the engine has no function "${name}"`, 1);
        return (...args) => this.guard(() => f(...args));
    }

    has(name: string): boolean {
        return typeof this.exports[name] === 'function';
    }

    /** For exports that return an sg_status. */
    check(status: number): void {
        if (status !== 0) throw this.failure();
    }

    /** For exports that return a pointer, 0 after a failure. */
    pointer(p: Pointer): Pointer {
        if (p === 0) throw this.failure();
        return p >>> 0;
    }

    /** The engine's last failure. */
    failure(): EngineError {
        return new EngineError(this.text(this.call('core_error_text')), this.call('core_error_status'));
    }

    get version(): string {
        return this.text(this.call('core_version'));
    }

    /* ---- memory ---- */

    /** Bytes of the engine's memory, aligned to 64, to be freed. */
    alloc(bytes: number): Pointer {
        const p = this.call('core_alloc', bytes);
        if (p === 0) throw new EngineError(`the page has no memory left for ${bytes} bytes`, 7);
        return p >>> 0;
    }

    free(p: Pointer): void {
        this.call('core_free', p);
    }

    /** A window on the memory, until the next call. */
    window<K extends ArrayKind>(kind: K, p: Pointer, n: number): ArrayOf<K> {
        return new arrays[kind](this.memory.buffer, p >>> 0, n) as ArrayOf<K>;
    }

    f32(p: Pointer, n: number): Float32Array {
        return new Float32Array(this.memory.buffer, p >>> 0, n);
    }

    f64(p: Pointer, n: number): Float64Array {
        return new Float64Array(this.memory.buffer, p >>> 0, n);
    }

    i32(p: Pointer, n: number): Int32Array {
        return new Int32Array(this.memory.buffer, p >>> 0, n);
    }

    bytes(p: Pointer, n: number): Uint8Array {
        return new Uint8Array(this.memory.buffer, p >>> 0, n);
    }

    view<K extends ArrayKind>(kind: K, p: Pointer, n: number): View<K> {
        return new View(this, kind, p, n);
    }

    /** Copies an array into new memory, calls `use` with its address and frees it again. */
    with<T>(data: ArrayBufferView, use: (p: Pointer) => T): T {
        const p = this.alloc(data.byteLength);
        try {
            this.bytes(p, data.byteLength).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
            return use(p);
        } finally {
            this.free(p);
        }
    }

    /* ---- texts ---- */

    /** The text that ends with a zero byte at p; "" for a null pointer. */
    text(p: Pointer): string {
        const start = p >>> 0;
        if (start === 0) return '';
        const all = new Uint8Array(this.memory.buffer);
        const end = all.indexOf(0, start);
        return decoder.decode(all.slice(start, end < 0 ? all.length : end));
    }

    /** Calls `use` with the address of the text, zero byte included. */
    withText<T>(text: string, use: (p: Pointer) => T): T {
        return this.with(encoder.encode(text + '\0'), use);
    }

    /* A trap is a mistake of the engine's; what it said on its way out says more than "unreachable". */
    private guard<T>(f: () => T): T {
        try {
            return f();
        } catch (e) {
            if (!(e instanceof WebAssembly.RuntimeError) && !(e instanceof RangeError)) throw e;
            const said = this.output.said.trim();
            throw new EngineError(`the engine stopped: ${said || e.message}`, -1);
        }
    }
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export type Source = string | URL | BufferSource | WebAssembly.Module | Response;

async function compile(source: Source): Promise<WebAssembly.Module> {
    if (source instanceof WebAssembly.Module) return source;
    if (typeof source === 'string' || source instanceof URL) {
        const url = String(source);
        const node = (globalThis as { process?: { versions?: { node?: string } } }).process?.versions?.node;
        if (node && !/^https?:/.test(url)) {
            const files = 'node:fs/promises'; /* a name in a variable: bundlers for the page leave it alone */
            const fs = (await import(/* @vite-ignore */ files)) as {
                readFile(path: string | URL): Promise<Uint8Array<ArrayBuffer>>;
            };
            return WebAssembly.compile(await fs.readFile(url.startsWith('file:') ? new URL(url) : url));
        }
        return compile(await fetch(url));
    }
    if (typeof Response !== 'undefined' && source instanceof Response) {
        if (!source.ok) throw new EngineError(`${source.url}: the engine is not there (HTTP ${source.status})`, 2);
        /* Not compileStreaming: it insists on a content type that plain file servers do not send. */
        return WebAssembly.compile(await source.arrayBuffer());
    }
    return WebAssembly.compile(source as BufferSource);
}

/* Node 18 has it under another name than browsers and later Nodes. */
async function randomness(): Promise<Crypto> {
    if (globalThis.crypto) return globalThis.crypto;
    const name = 'node:crypto';
    return ((await import(/* @vite-ignore */ name)) as { webcrypto: Crypto }).webcrypto;
}

/** Loads the engine from its file's address, its bytes, or a module that another thread compiled. */
export async function load(source: Source): Promise<Engine> {
    const module = await compile(source);
    const output = { said: '' };
    const random = await randomness();
    let memory: WebAssembly.Memory;
    const data = () => new DataView(memory.buffer);

    const wasi: Record<string, (...args: never[]) => number> = {
        clock_time_get: (_clock: number, _precision: bigint, out: Pointer) => {
            data().setBigUint64(out, BigInt(Math.round(performance.now() * 1e6)), true);
            return SUCCESS;
        },
        random_get: (p: Pointer, n: number) => {
            for (let at = 0; at < n; at += 65536)
                random.getRandomValues(new Uint8Array(memory.buffer, p + at, Math.min(65536, n - at)));
            return SUCCESS;
        },
        fd_write: (fd: number, vectors: Pointer, count: number, out: Pointer) => {
            if (fd !== 1 && fd !== 2) return BAD_FILE;
            let text = '',
                n = 0;
            for (let i = 0; i < count; i++) {
                const p = data().getUint32(vectors + 8 * i, true),
                    bytes = data().getUint32(vectors + 8 * i + 4, true);
                text += decoder.decode(new Uint8Array(memory.buffer, p, bytes).slice());
                n += bytes;
            }
            output.said = (output.said + text).slice(-2000);
            if (text.trim()) console.error(text.trimEnd());
            data().setUint32(out, n, true);
            return SUCCESS;
        },
        environ_sizes_get: (count: Pointer, bytes: Pointer) => {
            data().setUint32(count, 0, true);
            data().setUint32(bytes, 0, true);
            return SUCCESS;
        },
        environ_get: () => SUCCESS,
        proc_exit: (status: number) => {
            throw new EngineError(`the engine ended with status ${status}`, -1);
        },
    };

    /* There are no files here: whatever else of WASI somebody links says so. */
    const imports: WebAssembly.Imports = {};
    for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
        if (kind !== 'function' || from !== 'wasi_snapshot_preview1')
            throw new EngineError(`the engine wants ${from}.${name}, which a page does not have`, 9);
        (imports[from] ??= {})[name] = (wasi[name] as WebAssembly.ImportValue | undefined) ?? (() => NOT_THERE);
    }
    const instance = await WebAssembly.instantiate(module, imports);
    memory = instance.exports['memory'] as WebAssembly.Memory;
    return new Engine(instance, output);
}
