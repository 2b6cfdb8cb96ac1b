/* Tensors as the server sends them: safetensors or npy, read without copying where that is possible. */
export type TensorData = Float32Array | Float64Array | Int32Array | Uint32Array | Int16Array | Uint16Array | Int8Array | Uint8Array | BigInt64Array | BigUint64Array;

export interface Tensor {
    shape: number[];
    dtype: string; /* "f32", "i64", ... */
    data: TensorData;
}

const kinds: Record<string, { size: number; make: (b: ArrayBuffer, at: number, n: number) => TensorData }> = {
    f32: { size: 4, make: (b, at, n) => new Float32Array(b, at, n) },
    f64: { size: 8, make: (b, at, n) => new Float64Array(b, at, n) },
    i32: { size: 4, make: (b, at, n) => new Int32Array(b, at, n) },
    u32: { size: 4, make: (b, at, n) => new Uint32Array(b, at, n) },
    i16: { size: 2, make: (b, at, n) => new Int16Array(b, at, n) },
    u16: { size: 2, make: (b, at, n) => new Uint16Array(b, at, n) },
    i8: { size: 1, make: (b, at, n) => new Int8Array(b, at, n) },
    u8: { size: 1, make: (b, at, n) => new Uint8Array(b, at, n) },
    bool: { size: 1, make: (b, at, n) => new Uint8Array(b, at, n) },
    i64: { size: 8, make: (b, at, n) => new BigInt64Array(b, at, n) },
    u64: { size: 8, make: (b, at, n) => new BigUint64Array(b, at, n) },
    /* Half-precision values become f32. */
    bf16: { size: 2, make: (b, at, n) => widen(new Uint16Array(b, at, n), (h) => h << 16) },
    f16: { size: 2, make: (b, at, n) => widen(new Uint16Array(b, at, n), halfBits) },
};

function widen(halves: Uint16Array, bits: (h: number) => number): Float32Array {
    const words = new Uint32Array(halves.length);
    for (let i = 0; i < halves.length; i++) words[i] = bits(halves[i]);
    return new Float32Array(words.buffer);
}

/* The bits of an f32 with the value of an f16. */
function halfBits(h: number): number {
    const sign = (h & 0x8000) << 16,
        exponent = (h >> 10) & 31,
        fraction = h & 1023;
    if (exponent === 31) return sign | 0x7f800000 | (fraction << 13);
    if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
    if (fraction === 0) return sign;
    const shift = Math.clz32(fraction) - 21;
    return sign | ((113 - shift) << 23) | (((fraction << shift) & 1023) << 13);
}

function take(name: string, dtype: string, shape: number[], buffer: ArrayBuffer, at: number, bytes: number): Tensor {
    const kind = kinds[dtype];
    if (!kind) throw new Error(`tensor ${name}: values of type ${dtype} cannot be shown here`);
    const n = shape.reduce((a, b) => a * b, 1);
    if (n * kind.size !== bytes) throw new Error(`tensor ${name}: ${bytes} bytes for ${n} values of ${dtype}`);
    const aligned = at % kind.size === 0;
    const data = aligned ? kind.make(buffer, at, n) : kind.make(buffer.slice(at, at + bytes), 0, n);
    return { shape, dtype: dtype === 'bf16' || dtype === 'f16' ? 'f32' : dtype, data };
}

export function parseSafetensors(buffer: ArrayBuffer): { tensors: Map<string, Tensor>; metadata: Record<string, string> } {
    if (buffer.byteLength < 8) throw new Error('safetensors: the answer ended early');
    const length = Number(new DataView(buffer).getBigUint64(0, true));
    if (length > buffer.byteLength - 8) throw new Error('safetensors: the answer ended early');
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length))) as Record<string, unknown>;
    const tensors = new Map<string, Tensor>();
    for (const [name, value] of Object.entries(header)) {
        if (name === '__metadata__') continue;
        const entry = value as { dtype: string; shape: number[]; data_offsets: [number, number] };
        const [from, to] = entry.data_offsets;
        tensors.set(name, take(name, entry.dtype.toLowerCase(), entry.shape, buffer, 8 + length + from, to - from));
    }
    return { tensors, metadata: (header['__metadata__'] as Record<string, string> | undefined) ?? {} };
}

const npyKinds: Record<string, string> = { f4: 'f32', f8: 'f64', f2: 'f16', i4: 'i32', i8: 'i64', i2: 'i16', i1: 'i8', u1: 'u8', u2: 'u16', u4: 'u32', u8: 'u64', b1: 'bool' };

export function parseNpy(buffer: ArrayBuffer): Tensor {
    const view = new DataView(buffer);
    if (buffer.byteLength < 10 || view.getUint32(0) !== 0x934e554d) throw new Error('npy: this is no npy file');
    const long = view.getUint8(6) >= 2;
    const length = long ? view.getUint32(8, true) : view.getUint16(8, true);
    const start = (long ? 12 : 10) + length;
    const header = new TextDecoder('latin1').decode(new Uint8Array(buffer, long ? 12 : 10, length));
    const type = /'descr':\s*'([<>|=])(\w+)'/.exec(header);
    const dtype = type ? npyKinds[type[2]] : undefined;
    if (!type || !dtype || type[1] === '>' || /'fortran_order':\s*True/.test(header)) throw new Error(`npy: cannot read ${header.trim()}`);
    const shape = (/'shape':\s*\(([^)]*)\)/.exec(header)?.[1] ?? '')
        .split(',')
        .map((s) => s.trim())
        .filter((s) => s !== '')
        .map(Number);
    return take('npy', dtype, shape, buffer, start, buffer.byteLength - start);
}
