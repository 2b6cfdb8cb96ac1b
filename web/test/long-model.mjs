/* A small GPT-2 with random weights and room for 2,048 tokens, written as a folder that sightglass opens. Its attention is
 * not what training makes, and has structure all the same: weights are large enough that heads choose. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export function longModel(folder, { width = 64, layers = 2, heads = 4, context = 2048, vocabulary = 97 } = {}) {
    mkdirSync(folder, { recursive: true });
    const config = { model_type: 'gpt2', n_embd: width, n_layer: layers, n_head: heads, n_positions: context, n_ctx: context, vocab_size: vocabulary, tie_word_embeddings: true };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    let state = 12345;
    const uniform = () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 32 - 0.5;
    };
    const tensors = {};
    const add = (name, shape, make) => (tensors[name] = { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, make) });
    const norm = (name) => {
        add(`${name}.weight`, [width], () => 1);
        add(`${name}.bias`, [width], () => 0);
    };
    const linear = (name, from, to, size) => {
        add(`${name}.weight`, [from, to], () => size * uniform());
        add(`${name}.bias`, [to], () => 0);
    };
    add('transformer.wte.weight', [vocabulary, width], () => 2 * uniform());
    add('transformer.wpe.weight', [context, width], () => uniform());
    for (let l = 0; l < layers; l++) {
        const at = `transformer.h.${l}`;
        norm(`${at}.ln_1`);
        linear(`${at}.attn.c_attn`, width, 3 * width, 0.9);
        linear(`${at}.attn.c_proj`, width, width, 0.3);
        norm(`${at}.ln_2`);
        linear(`${at}.mlp.c_fc`, width, 4 * width, 0.3);
        linear(`${at}.mlp.c_proj`, 4 * width, width, 0.3);
    }
    norm('transformer.ln_f');
    const head = {};
    let offset = 0;
    for (const [name, t] of Object.entries(tensors)) {
        head[name] = { dtype: 'F32', shape: t.shape, data_offsets: [offset, offset + t.data.byteLength] };
        offset += t.data.byteLength;
    }
    let text = JSON.stringify(head);
    text += ' '.repeat((8 - (text.length % 8)) % 8);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    writeFileSync(join(folder, 'model.safetensors'), Buffer.concat([length, Buffer.from(text), ...Object.values(tensors).map((t) => Buffer.from(t.data.buffer))]));
    return { ...config, folder };
}

/** A prompt of n tokens as their numbers. */
export function longPrompt(n, vocabulary = 97) {
    let state = 7;
    return Array.from({ length: n }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state % vocabulary;
    }).join(' ');
}
