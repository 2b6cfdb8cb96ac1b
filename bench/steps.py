"""Sums up a trace: where the time goes. usage: steps.py TRACE.json [ROWS]

Steps of all layers are taken together (blocks.*), by operation and name. The inner extent of a product is not in a trace,
but follows from the bytes and the shape of its result, and gives GFLOP/s.  Of the runs in a trace each step's shortest
time counts, since on a machine that others use too the rest is theirs.
"""
import json
import re
import sys
from collections import defaultdict


def flops(shape, n_bytes):
    *lead, m, n = shape
    batches = 1
    for extent in lead:
        batches *= extent
    inputs = n_bytes / 4 - batches * m * n
    for each in (batches * m + n, batches * (m + n)):  # the second factor shared by all, or one for each
        inner = inputs / each
        if inner >= 1 and abs(inner - round(inner)) < 1e-6:
            return 2.0 * batches * m * n * inner
    return 0.0


def executions(events):
    """Splits a trace where a step comes again: one list of events for each execution of a plan."""
    run, seen = [], set()
    for e in events:
        if e["name"] in seen:
            yield run
            run, seen = [], set()
        run.append(e)
        seen.add(e["name"])
    if run:
        yield run


def show(runs, most):
    total = defaultdict(lambda: [0, 0.0, 0.0, 0.0])
    by_op = defaultdict(float)
    for step in zip(*runs):
        e = min(step, key=lambda e: e["dur"])
        a = e["args"]
        shape = [int(x) for x in a["shape"].strip("[]").split(",") if x]
        name = re.sub(r"\.\d+$", "", re.sub(r"\.\d+\.", ".*.", e["name"]))
        t = total[(a["op"], a["backend"], name, a["shape"])]
        t[0] += 1
        t[1] += e["dur"] / 1e3
        t[2] += a["bytes"]
        t[3] += flops(shape, a["bytes"]) if a["op"] == "matmul" and len(shape) > 1 else 0
        by_op[a["op"]] += e["dur"] / 1e3
    whole = sum(by_op.values())
    print(f"{whole:.2f} ms in {len(runs[0])} steps, the best of {len(runs)} runs each; by operation, ms:")
    print("  " + ", ".join(f"{op} {ms:.2f}" for op, ms in sorted(by_op.items(), key=lambda x: -x[1])[:14]))
    print(f"{'ms':>10} {'share':>6} {'n':>5} {'GFLOP/s':>8} {'GB/s':>7}  operation (backend) name shape")
    for (op, backend, name, shape), (n, ms, n_bytes, work) in sorted(total.items(), key=lambda x: -x[1][1])[:most]:
        rate = f"{work / ms / 1e6:8.1f}" if work and ms else f"{'':8}"
        speed = f"{n_bytes / ms / 1e6:7.1f}" if ms else ""
        print(f"{ms:10.3f} {100 * ms / whole:5.1f}% {n:5d} {rate} {speed}  {op} ({backend}) {name} {shape}")


def main():
    with open(sys.argv[1]) as f:
        events = json.load(f)["traceEvents"]
    plans = defaultdict(list)  # executions of one plan have the same steps and a last one of the same shape
    for run in executions(events):
        plans[(tuple(e["name"] for e in run), run[-1]["args"]["shape"])].append(run)
    for runs in plans.values():
        show(runs, int(sys.argv[2]) if len(sys.argv) > 2 else 16)


main()
