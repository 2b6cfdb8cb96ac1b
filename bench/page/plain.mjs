// The Playground's net as one would write it in JavaScript by hand: arrays of numbers, one point at a time, Math.tanh.
// It is what the engine is measured against (bench/README.md), and nothing in it is slowed on purpose.

export function makeNet(shape, random) {
    const layers = [];
    for (let l = 1; l < shape.length; l++) {
        const layer = {
            weights: [], biases: [], outputs: [], errors: [], weightSums: [], biasSums: [],
            tanh: true,
        };
        for (let u = 0; u < shape[l]; u++) {
            layer.weights.push(Array.from({ length: shape[l - 1] }, () => random() - 0.5));
            layer.weightSums.push(new Array(shape[l - 1]).fill(0));
            layer.biases.push(0.1);
            layer.biasSums.push(0);
            layer.outputs.push(0);
            layer.errors.push(0);
        }
        layers.push(layer);
    }
    return { layers, count: 0 };
}

export function forward(net, input) {
    let before = input;
    for (const layer of net.layers) {
        const { weights, biases, outputs } = layer;
        for (let u = 0; u < outputs.length; u++) {
            const w = weights[u];
            let sum = biases[u];
            for (let i = 0; i < w.length; i++)
                sum += w[i] * before[i];
            outputs[u] = Math.tanh(sum);
        }
        before = outputs;
    }
    return before[0];
}

function backward(net, input, target) {
    const { layers } = net;
    const top = layers[layers.length - 1];
    top.errors[0] = top.outputs[0] - target;
    for (let l = layers.length - 1; l >= 0; l--) {
        const { weights, outputs, errors, weightSums, biasSums } = layers[l];
        const before = l > 0 ? layers[l - 1].outputs : input;
        const errorsBefore = l > 0 ? layers[l - 1].errors : null;
        if (errorsBefore)
            errorsBefore.fill(0);
        for (let u = 0; u < outputs.length; u++) {
            const slope = errors[u] * (1 - outputs[u] * outputs[u]);
            const w = weights[u], sums = weightSums[u];
            biasSums[u] += slope;
            for (let i = 0; i < w.length; i++) {
                sums[i] += slope * before[i];
                if (errorsBefore)
                    errorsBefore[i] += slope * w[i];
            }
        }
    }
    net.count++;
}

function update(net, rate) {
    const step = rate / net.count;
    for (const { weights, biases, weightSums, biasSums } of net.layers) {
        for (let u = 0; u < biases.length; u++) {
            const w = weights[u], sums = weightSums[u];
            biases[u] -= step * biasSums[u];
            biasSums[u] = 0;
            for (let i = 0; i < w.length; i++) {
                w[i] -= step * sums[i];
                sums[i] = 0;
            }
        }
    }
    net.count = 0;
}

export function loss(net, points) {
    let sum = 0;
    for (const p of points) {
        const d = forward(net, p.input) - p.label;
        sum += 0.5 * d * d;
    }
    return sum / points.length;
}

/** One epoch over the training points, as the Playground does it. */
export function epoch(net, points, batch, rate) {
    for (let i = 0; i < points.length; i++) {
        forward(net, points[i].input);
        backward(net, points[i].input, points[i].label);
        if ((i + 1) % batch === 0)
            update(net, rate);
    }
}
