"""scikit-learn's t-SNE on points like those of the bench's row: seconds of a processor and trustworthiness. usage: tsne_sklearn.py

A run takes minutes, so that it does not take turns with ours: Barnes-Hut, perplexity 30, 1000 steps, from the first components,
one thread. bench/README.md has what it gave.
"""
import time

import numpy
from sklearn import __version__
from sklearn.manifold import TSNE, trustworthiness

N, D, GROUPS = 10000, 50, 20
r = numpy.random.default_rng(1)
middle = 3 * r.standard_normal((GROUPS, D))
x = (middle[numpy.arange(N) % GROUPS] + r.standard_normal((N, D))).astype("f4")
start, cpu = time.time(), time.process_time()
y = TSNE(init="pca", learning_rate="auto", perplexity=30, n_iter=1000, random_state=0, n_jobs=1).fit_transform(x)
cpu, wall = time.process_time() - cpu, time.time() - start
print(f"scikit-learn {__version__}: {cpu:.1f} s of processors, {wall:.1f} s by the clock, "
      f"trustworthiness {trustworthiness(x, y, n_neighbors=15):.4f}")
