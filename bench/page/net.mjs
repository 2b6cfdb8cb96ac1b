// Runs in the browser: both nets on the same points, in turns. bench/net.mjs is what calls it.
import { Net } from '../../web/src/engine/net.ts';
import { load } from '../../web/src/engine/wasm.ts';
import { epoch, loss, makeNet } from './plain.mjs';

/** Epochs per second of one function that trains n epochs, over at least `seconds`. */
function rate(train, seconds) {
    let n = 1;
    for (;;) {
        const began = performance.now();
        train(n);
        const took = (performance.now() - began) / 1000;
        if (took >= seconds) return n / took;
        n = Math.max(n + 1, Math.ceil((n * seconds * 1.1) / Math.max(took, 1e-4)));
    }
}

export async function compare(wasm, rounds, seconds) {
    const engine = await load(wasm);
    const open = (address) => Net.create(engine, address);
    const exact = open('seed=0.12345'),
        quick = open('seed=0.12345&quick=true');
    const points = (part) => {
        const list = exact.points(part);
        return Array.from({ length: list.length / 3 }, (_, i) => ({ input: [list[3 * i], list[3 * i + 1]], label: list[3 * i + 2] }));
    };
    const train = points('train'),
        test = points('test');

    // The same net: from the same weights it has to learn the same.
    const plain = makeNet([2, 4, 2, 1], Math.random);
    exact.layers().forEach((l, k) => {
        const layer = plain.layers[k];
        layer.biases = [...l.biases];
        layer.weights = layer.weights.map((w, u) => [...l.weights.slice(u * l.from, (u + 1) * l.from)]);
    });
    for (let i = 0; i < 20; i++) epoch(plain, train, 10, 0.03);
    exact.train(20);
    const apart = Math.abs(loss(plain, train) - exact.loss('train'));
    if (!(apart < 1e-12)) throw new Error(`the two nets are ${apart} apart after 20 epochs`);

    const withLosses = (net) => (n) => {
        for (let i = 0; i < n; i++) {
            net.train(1);
            net.loss('train');
            net.loss('test');
        }
    };
    const sides = {
        plain: (n) => {
            for (let i = 0; i < n; i++) epoch(plain, train, 10, 0.03);
        },
        exact: (n) => exact.train(n),
        quick: (n) => quick.train(n),
        plain_losses: (n) => {
            for (let i = 0; i < n; i++) {
                epoch(plain, train, 10, 0.03);
                loss(plain, train);
                loss(plain, test);
            }
        },
        exact_losses: withLosses(exact),
        quick_losses: withLosses(quick),
    };
    const rates = Object.fromEntries(Object.keys(sides).map((k) => [k, []]));
    for (const f of Object.values(sides)) rate(f, 0.1); // compiled before it counts
    for (let r = 0; r < rounds; r++) for (const [name, f] of Object.entries(sides)) rates[name].push(rate(f, seconds));
    return { rates, apart };
}
