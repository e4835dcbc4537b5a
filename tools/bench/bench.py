"""Runs `stylize` and PyTorch alternately on the same cores and prints how much faster which is.

    make build
    .venv/bin/python tools/bench/bench.py [--sizes 128,256,512] [--rounds 5] [--variants eager,channels_last,...]

Whole iterations: forward, losses, backward, Adam. A round is one run of stylize and one of every PyTorch variant, in an
order that turns; the ratio of a round compares neighbours in time, so a machine that drifts moves both. Printed: median
and range of the times, of PyTorch's best variant, and of the ratios. Start-up and targets are not part of an iteration.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile

import numpy as np
from PIL import Image

here = os.path.dirname(os.path.abspath(__file__))
ap = argparse.ArgumentParser()
ap.add_argument("--sizes", default="128,256,512")
ap.add_argument("--rounds", type=int, default=5)
ap.add_argument("--seconds", type=float, default=4, help="work of one run, about")
ap.add_argument("--variants", default="channels_last,channels_last+compile")
ap.add_argument("--stylize", default=os.path.join(here, "..", "..", "bin", "stylize"))
args = ap.parse_args()


class Torch:
    def __init__(self, size, variant):
        cmd = [sys.executable, os.path.join(here, "torch_iteration.py"), str(size)]
        cmd += [v for v in variant.split("+") if v != "eager"]
        self.p = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.p.stdout.readline().strip() != "ready":
            sys.exit(f"bench: PyTorch ({variant}) did not start")

    def run(self, n):
        self.p.stdin.write(f"{n}\n")
        self.p.stdin.flush()
        r = json.loads(self.p.stdout.readline())
        self.peak = r["peak_mb"]
        return statistics.median(r["ms"])


def stylize(folder, size, n):
    cmd = [args.stylize, f"{folder}/c{size}.png", f"{folder}/s{size}.png", "-o", f"{folder}/o.png", "--size", str(size),
           "-n", str(n), "--weights", "random", "--json", "--quiet"]
    out = json.loads(subprocess.run(cmd, check=True, capture_output=True, text=True).stdout)
    return out["result"]["median_iteration_ms"]


def line(v):
    return f"{statistics.median(v):8.1f} ms  ({min(v):.1f} to {max(v):.1f})"


with tempfile.TemporaryDirectory() as folder:
    for size in map(int, args.sizes.split(",")):
        rng = np.random.default_rng(1)
        for name in "cs":
            Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(f"{folder}/{name}{size}.png")
        variants = {v: Torch(size, v) for v in args.variants.split(",")}
        first = stylize(folder, size, 3)
        n = max(3, int(args.seconds * 1000 / first))
        m = max(2, n // 3)
        ours, theirs = [], {v: [] for v in variants}
        for r in range(args.rounds):
            jobs = [("", None)] + list(variants.items())
            for v, t in jobs[r % len(jobs):] + jobs[:r % len(jobs)]:
                if t is None:
                    ours.append(stylize(folder, size, n))
                else:
                    theirs[v].append(t.run(m))
        best = min(theirs, key=lambda v: statistics.median(theirs[v]))
        ratios = [a / b for a, b in zip(theirs[best], ours)]
        print(f"{size}x{size}, {args.rounds} rounds")
        print(f"  stylize                        {line(ours)}")
        for v in theirs:
            print(f"  PyTorch {v:22s} {line(theirs[v])}  peak {variants[v].peak:.0f} MB")
        print(f"  ratio to PyTorch's best        {statistics.median(ratios):8.2f}     ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
        for t in variants.values():
            t.p.stdin.close()
            t.p.wait()
