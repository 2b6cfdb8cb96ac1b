#!/usr/bin/env python3
"""The GAN of docs/gan-lab.md again, in NumPy and double precision, sharing no code with ours: a check that what our training
reaches, and how often it fails, is a property of the problem.

    OPENBLAS_NUM_THREADS=1 python3 bench/peers/gan_numpy.py [SEEDS]

Usual settings on the line, 2,000 iterations; prints in how many seeds JS ends below 0.6 with at most one fake in ten outside.
"""
import sys

import numpy as np

BATCH, ATLAS, UNITS, RATE = 150, 12000, 8, 0.1


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def network(rng, n_out):
    sizes = [(2, UNITS, 2), (UNITS, UNITS, UNITS), (UNITS, n_out, UNITS)]
    return [w for i, o, fan in sizes for w in (rng.standard_normal((i, o)) / np.sqrt(fan), np.zeros(o))]


def forward(w, x):
    h = np.maximum(x @ w[0] + w[1], 0)
    k = np.maximum(h @ w[2] + w[3], 0)
    return x, h, k, k @ w[4] + w[5]


def backward(w, kept, da):
    """Gradients by the parameters and by the input, of what has gradient da by the last sums."""
    x, h, k, _ = kept
    dk = da @ w[4].T * (k > 0)
    dh = dk @ w[2].T * (h > 0)
    return [x.T @ dh, dh.sum(0), h.T @ dk, dk.sum(0), k.T @ da, da.sum(0)], dh @ w[0].T


def densities(points):
    inside = points[((points >= 0) & (points < 1)).all(1)]
    cells = (inside * 30).astype(int)
    p = np.zeros((30, 30))
    np.add.at(p, (cells[:, 1], cells[:, 0]), 1 / len(points))
    return p, len(points) - len(inside)


def js(real, fake):
    (p, _), (q, outside) = densities(real), densities(fake)
    e, m = 1e-4, (p + q) / 2
    part = lambda a: ((a + e) * np.log2((a + e) / (m + e))).sum()
    return 0.5 * (part(p) + part(q)), outside


def train(seed, iterations=2000):
    rng = np.random.default_rng(seed)
    r = rng.random(ATLAS)
    real = np.stack([0.8 - 0.75 * r, 0.6 + 0.3 * r], 1) + 0.01 * rng.standard_normal((ATLAS, 2))
    noise = rng.random((ATLAS, 2))
    g, d = network(rng, 2), network(rng, 1)
    taken = {"noise": 0, "real": 0}

    def batch(name, atlas):
        at = taken[name] * BATCH % ATLAS
        taken[name] += 1
        return atlas[at : at + BATCH]

    for _ in range(iterations):
        for _ in range(2):
            on_real = forward(d, batch("real", real))
            on_fake = forward(d, np.tanh(forward(g, batch("noise", noise))[3]))
            of_real, _ = backward(d, on_real, 0.95 * (sigmoid(on_real[3]) - 1) / BATCH)
            of_fake, _ = backward(d, on_fake, sigmoid(on_fake[3]) / BATCH)
            d = [w - RATE * (a + b) for w, a, b in zip(d, of_real, of_fake)]
        made = forward(g, batch("noise", noise))
        fake = np.tanh(made[3])
        judged = forward(d, fake)
        _, by_fake = backward(d, judged, (sigmoid(judged[3]) - 1) / BATCH)
        of_g, _ = backward(g, made, by_fake * (1 - fake * fake))
        g = [w - RATE * a for w, a in zip(g, of_g)]
    return js(real[:450], np.tanh(forward(g, noise[:BATCH])[3]))


if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    ends = [train(seed) for seed in range(1, seeds + 1)]
    print(sum(j < 0.6 and outside < 15 for j, outside in ends), "of", seeds, " ".join(f"{j:.2f}" for j, _ in ends))
