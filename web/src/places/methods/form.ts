/* What a reader asks of a method: its inputs and options as texts, in the address, as a request and as a command. */
import type { Method, MethodInput, MethodOption } from '../../api.types';

export const keyOf = (m: Method): string => (m.action ? `${m.name} ${m.action}` : m.name);

export interface Asked {
    inputs: string[];
    /** Only what differs from the default. */
    settings: Record<string, string>;
    seed: number;
}

/** An option of the method that is told. */
export const valueOf = (o: MethodOption, asked: Asked): string => asked.settings[o.name] ?? o.standard;

/** One field for each input; the last of several may be many texts, one a line. */
export function fieldsOf(m: Method): { input: MethodInput; many: boolean }[] {
    return m.inputs.flatMap((input) => (input.most > 1 && input.most <= 3 ? Array.from({ length: input.most }, () => ({ input, many: false })) : [{ input, many: input.most > 3 }]));
}

export const given = (asked: Asked): string[] => asked.inputs.flatMap((text) => text.split('\n')).filter((text) => text !== '');

/** Why it cannot be asked yet; null where it can. */
export function missing(m: Method, asked: Asked): string | null {
    const least = m.inputs.reduce((n, i) => n + i.least, 0);
    if (given(asked).length >= least) return null;
    const names = fieldsOf(m).map((f) => f.input.name);
    const at = asked.inputs.findIndex((text) => text === '');
    return `${names[at < 0 ? given(asked).length : at] ?? 'an input'} is missing`;
}

const quoted = (text: string): string => (/^[\w./:,=+-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** The same in a terminal. */
export function command(m: Method, asked: Asked): string {
    const words = ['sightglass', m.name, ...(m.action ? [m.action] : []), ...given(asked).map(quoted)];
    for (const o of m.options) {
        const value = asked.settings[o.name];
        if (value === undefined) continue;
        if (o.kind !== 'flag') words.push(`--${o.name}`, quoted(value));
        else words.push(value === 'yes' ? `--${o.name}` : `--${o.name}=no`);
    }
    if (asked.seed) words.push('--seed', String(asked.seed));
    if (m.artefact) words.push('-o', 'out');
    return words.join(' ');
}

/** What is in the address, as far as the method has it. */
export function readAsked(m: Method, value: unknown): Asked {
    const of = (typeof value === 'object' && value !== null ? value : {}) as { inputs?: unknown; settings?: unknown; seed?: unknown };
    const inputs = Array.isArray(of.inputs) ? of.inputs.map((x) => (typeof x === 'string' ? x.slice(0, 4000) : '')) : [];
    const settings: Record<string, string> = {};
    const told = (typeof of.settings === 'object' && of.settings !== null ? of.settings : {}) as Record<string, unknown>;
    for (const o of m.options) {
        const v = told[o.name];
        if (typeof v === 'string' && v !== o.standard) settings[o.name] = v.slice(0, 4000);
    }
    return {
        inputs: fieldsOf(m).map((_, i) => inputs[i] ?? ''),
        settings,
        seed: typeof of.seed === 'number' && Number.isSafeInteger(of.seed) && of.seed >= 0 ? of.seed : 0,
    };
}
