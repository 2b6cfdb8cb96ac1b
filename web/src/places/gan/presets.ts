/* The GANs that the tree ships, trained by `sightglass gan run` (models/gan). They travel inside the page, so that it works from
 * plain files too. */
import type { Shape } from '../../engine/gan';
import disjoint from '../../../../models/gan/disjoint.json?raw';
import disjointNumbers from '../../../../models/gan/disjoint.weights.bin?url&inline';
import gaussians from '../../../../models/gan/gaussians.json?raw';
import gaussiansNumbers from '../../../../models/gan/gaussians.weights.bin?url&inline';
import line from '../../../../models/gan/line.json?raw';
import lineNumbers from '../../../../models/gan/line.weights.bin?url&inline';
import ring from '../../../../models/gan/ring.json?raw';
import ringNumbers from '../../../../models/gan/ring.weights.bin?url&inline';

const shipped: Partial<Record<Shape, readonly [string, string]>> = {
    line: [line, lineNumbers],
    gaussians: [gaussians, gaussiansNumbers],
    ring: [ring, ringNumbers],
    disjoint: [disjoint, disjointNumbers],
};

export interface ModelFile {
    name: string;
    json: string;
    files: Map<string, Uint8Array>;
}

export function preset(shape: Shape): ModelFile | null {
    const found = shipped[shape];
    if (!found) return null;
    const [json, url] = found;
    const bytes = Uint8Array.from(atob(url.slice(url.indexOf(',') + 1)), (c) => c.charCodeAt(0));
    return { name: `${shape}.json`, json, files: new Map([[`${shape}.weights.bin`, bytes]]) };
}
