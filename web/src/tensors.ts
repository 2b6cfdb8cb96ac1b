/* Tensors as the server sends them: safetensors (several, by name) and npy (one).
 *
 *     const { resid } = safetensors(bytes);   // { shape: [5, 20], data: Float32Array }
 *     half(tile.data[i]);                     // f16 stays as its 16 bits until a number is wanted */

export interface Tensor {
    shape: number[];
    data: Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array;
    /** What a number of `data` is: f16 and bf16 are their bits in a Uint16Array. */
    dtype: 'f32' | 'f64' | 'i32' | 'f16' | 'bf16' | 'bool';
}

type Make = (buffer: ArrayBuffer) => Tensor['data'];
const types: Record<string, [Tensor['dtype'], Make]> = {
    F32: ['f32', (b) => new Float32Array(b)],
    F64: ['f64', (b) => new Float64Array(b)],
    I32: ['i32', (b) => new Int32Array(b)],
    F16: ['f16', (b) => new Uint16Array(b)],
    BF16: ['bf16', (b) => new Uint16Array(b)],
    BOOL: ['bool', (b) => new Uint8Array(b)],
    '<f4': ['f32', (b) => new Float32Array(b)],
    '<f8': ['f64', (b) => new Float64Array(b)],
    '<i4': ['i32', (b) => new Int32Array(b)],
    '<f2': ['f16', (b) => new Uint16Array(b)],
    '|b1': ['bool', (b) => new Uint8Array(b)],
};

function tensor(type: string, shape: number[], bytes: ArrayBuffer): Tensor {
    const known = types[type];
    if (!known) throw new Error(`tensors of type ${type} are not read here`);
    const data = known[1](bytes);
    const count = shape.reduce((a, b) => a * b, 1);
    if (data.length !== count) throw new Error(`a tensor of ${count} numbers came with ${data.length}`);
    return { shape, data, dtype: known[0] };
}

export function safetensors(bytes: ArrayBuffer): Record<string, Tensor> {
    const length = Number(new DataView(bytes).getBigUint64(0, true));
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length))) as Record<
        string,
        { dtype: string; shape: number[]; data_offsets: [number, number] }
    >;
    const out: Record<string, Tensor> = {};
    for (const [name, t] of Object.entries(head)) {
        if (name === '__metadata__') continue;
        const [from, to] = t.data_offsets;
        out[name] = tensor(t.dtype, t.shape, bytes.slice(8 + length + from, 8 + length + to));
    }
    return out;
}

export function npy(bytes: ArrayBuffer): Tensor {
    const view = new DataView(bytes);
    const wide = view.getUint8(6) > 1;
    const length = wide ? view.getUint32(8, true) : view.getUint16(8, true);
    const from = (wide ? 12 : 10) + length;
    const head = new TextDecoder().decode(new Uint8Array(bytes, wide ? 12 : 10, length));
    const type = /'descr': '([^']+)'/.exec(head)?.[1],
        shape = /'shape': \(([^)]*)\)/.exec(head)?.[1];
    if (type === undefined || shape === undefined || /'fortran_order': True/.test(head)) throw new Error('this is no npy file that is read here');
    return tensor(
        type,
        shape
            .split(',')
            .map((s) => s.trim())
            .filter((s) => s !== '')
            .map(Number),
        bytes.slice(from),
    );
}

/** The number that 16 bits of IEEE binary16 are. */
export function half(bits: number): number {
    const sign = bits & 0x8000 ? -1 : 1,
        exponent = (bits >> 10) & 0x1f,
        fraction = bits & 0x3ff;
    if (exponent === 0) return sign * fraction * 2 ** -24;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** All numbers as f32, whatever they came as. */
export function numbers(t: Tensor): Float32Array {
    if (t.dtype === 'f16') return Float32Array.from(t.data as Uint16Array, half);
    return t.data instanceof Float32Array ? t.data : Float32Array.from(t.data as Float64Array);
}
