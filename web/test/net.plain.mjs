/* The Playground a second time, from its specification alone and in the plainest JavaScript: what the engine is compared with where
 * the original's own numbers are not at hand. Slow, and shares no line with the engine. */

export function read(address) {
    const s = {
        activation: 'tanh', regularization: 'none', batchSize: 10, dataset: 'circle', regDataset: 'reg-plane', learningRate: 0.03, regularizationRate: 0,
        noise: 0, networkShape: [4, 2], seed: null, percTrainData: 50, x: true, y: true, xTimesY: false, xSquared: false, ySquared: false, sinX: false,
        sinY: false, problem: 'classification', initZero: false,
    };
    const words = {
        activation: ['relu', 'tanh', 'sigmoid', 'linear'], regularization: ['none', 'L1', 'L2'], dataset: ['circle', 'xor', 'gauss', 'spiral'],
        regDataset: ['reg-plane', 'reg-gauss'], problem: ['classification', 'regression'],
    };
    for (const pair of address.split('&')) {
        const [name, value] = pair.split('=');
        if (!(name in s) || value === undefined) continue;
        if (name === 'networkShape') s.networkShape = value.trim() === '' ? [] : value.split(',').map(Number);
        else if (value.trim() === '') continue;
        else if (words[name]) s[name] = words[name].includes(value) ? value : s[name];
        else if (typeof s[name] === 'boolean') s[name] = value !== 'false';
        else if (name === 'seed') s.seed = value;
        else s[name] = +value;
    }
    if (s.noise > 80) s.noise = 50;
    if (s.noise < 0) s.noise = 0;
    return s;
}

export function stream(text) {
    const key = [];
    let smear = 0;
    for (let j = 0; j < text.length; j++) {
        if (key[j & 255] !== undefined) smear ^= key[j & 255] * 19;
        key[j & 255] = 255 & (smear + text.charCodeAt(j));
    }
    const s = Array.from({ length: 256 }, (_, i) => i);
    let a = 0,
        b = 0;
    for (let i = 0, j = 0; i < 256; i++) {
        const t = s[i];
        j = 255 & (j + key[i % key.length] + t);
        s[i] = s[j];
        s[j] = t;
    }
    const byte = () => {
        a = 255 & (a + 1);
        const t = s[a];
        b = 255 & (b + t);
        s[a] = s[b];
        s[b] = t;
        return s[255 & (s[a] + s[b])];
    };
    for (let i = 0; i < 256; i++) byte();
    return () => {
        let n = 0,
            d = 2 ** 48,
            x = 0;
        for (let i = 0; i < 6; i++) n = n * 256 + byte();
        while (n < 2 ** 52) {
            n = (n + x) * 256;
            d *= 256;
            x = byte();
        }
        while (n >= 2 ** 53) {
            n /= 2;
            d /= 2;
            x >>>= 1;
        }
        return (n + x) / d;
    };
}

function draw(s, random) {
    const nu = s.noise / 100,
        u = (a, b) => random() * (b - a) + a,
        points = [];
    const normal = (mean, variance) => {
        for (;;) {
            const v1 = 2 * random() - 1,
                v2 = 2 * random() - 1,
                r = v1 * v1 + v2 * v2;
            if (r <= 1) return mean + Math.sqrt(variance) * (Math.sqrt((-2 * Math.log(r)) / r) * v1);
        }
    };
    const scale = (x, a, b, c, d) => {
        const t = (x - a) / (b - a);
        return c * (1 - t) + d * t;
    };
    const sets = {
        circle() {
            for (const [low, high] of [[0, 2.5], [3.5, 5]])
                for (let i = 0; i < 250; i++) {
                    const r = u(low, high),
                        a = u(0, 2 * Math.PI),
                        x = r * Math.sin(a),
                        y = r * Math.cos(a),
                        nx = x + u(-5, 5) * nu,
                        ny = y + u(-5, 5) * nu;
                    points.push([x, y, Math.sqrt(nx * nx + ny * ny) < 2.5 ? 1 : -1]);
                }
        },
        xor() {
            for (let i = 0; i < 500; i++) {
                let x = u(-5, 5);
                x += x > 0 ? 0.3 : -0.3;
                let y = u(-5, 5);
                y += y > 0 ? 0.3 : -0.3;
                const nx = x + u(-5, 5) * nu,
                    ny = y + u(-5, 5) * nu;
                points.push([x, y, nx * ny >= 0 ? 1 : -1]);
            }
        },
        gauss() {
            const variance = scale(nu, 0, 0.5, 0.5, 4);
            for (const side of [1, -1])
                for (let i = 0; i < 250; i++) {
                    const x = normal(2 * side, variance);
                    points.push([x, normal(2 * side, variance), side]);
                }
        },
        spiral() {
            for (const [delta, label] of [[0, 1], [Math.PI, -1]])
                for (let i = 0; i < 250; i++) {
                    const r = (i / 250) * 5,
                        t = ((1.75 * i) / 250) * 2 * Math.PI + delta,
                        x = r * Math.sin(t) + u(-1, 1) * nu;
                    points.push([x, r * Math.cos(t) + u(-1, 1) * nu, label]);
                }
        },
        'reg-plane': () => regress((x, y) => scale(x + y, -10, 10, -1, 1)),
        'reg-gauss': () =>
            regress((x, y) => {
                let label = 0;
                for (const [cx, cy, sign] of [[-4, 2.5, 1], [0, 2.5, -1], [4, 2.5, 1], [-4, -2.5, -1], [0, -2.5, 1], [4, -2.5, -1]]) {
                    const height = sign * Math.max(0, Math.min(1, 1 - Math.sqrt((x - cx) ** 2 + (y - cy) ** 2) / 2));
                    if (Math.abs(height) > Math.abs(label)) label = height;
                }
                return label;
            }),
    };
    const regress = (label) => {
        for (let i = 0; i < 1200; i++) {
            const x = u(-6, 6),
                y = u(-6, 6),
                nx = u(-6, 6) * nu,
                ny = u(-6, 6) * nu;
            points.push([x, y, label(x + nx, y + ny)]);
        }
    };
    sets[s.problem === 'regression' ? s.regDataset : s.dataset]();
    for (let c = points.length; c > 0; c--) {
        const k = Math.floor(random() * c);
        [points[c - 1], points[k]] = [points[k], points[c - 1]];
    }
    return points;
}

const functions = {
    relu: [(x) => Math.max(0, x), (o) => (o > 0 ? 1 : 0)],
    tanh: [Math.tanh, (o) => 1 - o * o],
    sigmoid: [(x) => 1 / (1 + Math.exp(-x)), (o) => o * (1 - o)],
    linear: [(x) => x, () => 1],
};

export class Plain {
    constructor(address) {
        const s = (this.s = read(address));
        const random = stream(s.seed);
        const points = draw(s, random);
        const n = Math.floor((points.length * s.percTrainData) / 100);
        this.train = points.slice(0, n);
        this.test = points.slice(n);
        const shape = [this.inputs([0, 0]).length, ...s.networkShape, 1];
        this.layers = shape.slice(1).map((units, l) => ({
            f: functions[l < shape.length - 2 ? s.activation : s.problem === 'regression' ? 'linear' : 'tanh'],
            units: Array.from({ length: units }, () => ({
                bias: s.initZero ? 0 : 0.1,
                biasSum: 0,
                links: Array.from({ length: shape[l] }, () => {
                    const w = random() - 0.5;
                    return { w: s.initZero ? 0 : w, sum: 0, dead: false };
                }),
            })),
        }));
        this.count = 0;
    }
    inputs([x, y]) {
        const s = this.s;
        return [[s.x, x], [s.y, y], [s.xSquared, x * x], [s.ySquared, y * y], [s.xTimesY, x * y], [s.sinX, Math.sin(x)], [s.sinY, Math.sin(y)]].filter(([on]) => on).map(([, v]) => v);
    }
    forward(point) {
        let out = this.inputs(point);
        for (const layer of this.layers) {
            layer.in = out;
            out = layer.units.map((u) => (u.out = layer.f[0](u.links.reduce((sum, link, i) => sum + link.w * layer.in[i], u.bias))));
        }
        return out[0];
    }
    epoch() {
        const { batchSize, learningRate: rate, regularization, regularizationRate } = this.s;
        this.train.forEach((point, k) => {
            let errors = [this.forward(point) - point[2]];
            for (const layer of [...this.layers].reverse()) {
                const below = layer.in.map(() => 0);
                layer.units.forEach((u, j) => {
                    const d = errors[j] * layer.f[1](u.out);
                    u.biasSum += d;
                    u.links.forEach((link, i) => {
                        if (!link.dead) link.sum += d * layer.in[i];
                        below[i] += link.w * d;
                    });
                });
                errors = below;
            }
            this.count++;
            if ((k + 1) % batchSize !== 0) return;
            for (const u of this.layers.flatMap((l) => l.units)) {
                u.bias -= (rate * u.biasSum) / this.count;
                u.biasSum = 0;
                for (const link of u.links) {
                    if (link.dead) continue;
                    const slope = regularization === 'L1' ? Math.sign(link.w) : regularization === 'L2' ? link.w : 0;
                    const w = link.w - (rate / this.count) * link.sum;
                    const next = w - rate * regularizationRate * slope;
                    link.dead = regularization === 'L1' && w * next < 0;
                    link.w = link.dead ? 0 : next;
                    link.sum = 0;
                }
            }
            this.count = 0;
        });
    }
    loss(points) {
        let sum = 0;
        for (const p of points) sum += 0.5 * Math.pow(this.forward(p) - p[2], 2);
        return sum / points.length;
    }
    get dead() {
        return this.layers.flatMap((l) => l.units.flatMap((u) => u.links)).filter((l) => l.dead).length;
    }
}
