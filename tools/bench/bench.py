"""Runs `stylize` and PyTorch alternately on the same cores and prints how much faster which is.

    make build
    .venv/bin/python tools/bench/bench.py [--sizes 128,256,512] [--rounds 5] [--variants eager,channels_last,...]
                                          [--precisions fp32,bf16] [--pin]

Whole iterations: forward, losses, backward, Adam. A round is one run of stylize in each precision and one of every PyTorch
variant, in an order that turns; the ratio of a round compares neighbours in time, so a machine that drifts moves all.
Printed: median and range of the times, and of the ratios to PyTorch's best variant: fp32 to fp32, bf16 to bf16
(autocast) and to fp32. Start-up and targets are not part of an iteration. bf16 is measured where the processor has AMX.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile

import numpy as np
from PIL import Image

here = os.path.dirname(os.path.abspath(__file__))
ap = argparse.ArgumentParser()
ap.add_argument("--sizes", default="128,256,512")
ap.add_argument("--rounds", type=int, default=5)
ap.add_argument("--seconds", type=float, default=4, help="work of one run, about")
ap.add_argument("--variants", default="", help="of PyTorch; default: channels_last and channels_last+compile, with +bf16 where stylize has it")
ap.add_argument("--precisions", default="", help="of stylize; default: fp32, and bf16 where the processor has AMX")
ap.add_argument("--pin", action="store_true", help="stylize --pin; OMP_PROC_BIND for PyTorch")
ap.add_argument("--stylize", default=os.path.join(here, "..", "..", "bin", "stylize"))
args = ap.parse_args()
if args.pin:
    os.environ["OMP_PROC_BIND"] = "true"
if not args.precisions:
    devices = subprocess.run([args.stylize, "devices"], capture_output=True, text=True).stdout
    args.precisions = "fp32,bf16" if "bf16 on amx" in devices else "fp32"
precisions = args.precisions.split(",")
if not args.variants:
    args.variants = ",".join(f"channels_last{p}{c}" for p in ["", "+bf16"][:len(precisions)] for c in ["", "+compile"])


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


def stylize(folder, size, n, precision):
    cmd = [args.stylize, f"{folder}/c{size}.png", f"{folder}/s{size}.png", "-o", f"{folder}/o.png", "--size", str(size), "--device", "cpu",
           "--preset", "classic", "--precision", precision, "-n", str(n), "--weights", "random", "--json", "--quiet"]
    out = json.loads(subprocess.run(cmd + ["--pin"] * args.pin, check=True, capture_output=True, text=True).stdout)
    return out["result"]["median_iteration_ms"]


def line(v):
    return f"{statistics.median(v):8.1f} ms  ({min(v):.1f} to {max(v):.1f})"


def best(times):
    """The variant with the smallest median, if there is one."""
    return min(times, key=lambda v: statistics.median(times[v]), default=None)


with tempfile.TemporaryDirectory() as folder:
    for size in map(int, args.sizes.split(",")):
        rng = np.random.default_rng(1)
        for name in "cs":
            Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)).save(f"{folder}/{name}{size}.png")
        variants = {v: Torch(size, v) for v in args.variants.split(",")}
        n = {p: max(3, int(args.seconds * 1000 / stylize(folder, size, 3, p))) for p in precisions}
        m = {v: 0 for v in variants}
        for v, t in variants.items():
            m[v] = max(2, int(args.seconds * 1000 / t.run(2)))
        ours, theirs = {p: [] for p in precisions}, {v: [] for v in variants}
        jobs = [(p, None) for p in precisions] + list(variants.items())
        for r in range(args.rounds):
            for v, t in jobs[r % len(jobs):] + jobs[:r % len(jobs)]:
                if t is None:
                    ours[v].append(stylize(folder, size, n[v], v))
                else:
                    theirs[v].append(t.run(m[v]))
        print(f"{size}x{size}, {args.rounds} rounds")
        for p in ours:
            print(f"  stylize {p:22s} {line(ours[p])}")
        for v in theirs:
            print(f"  PyTorch {v:22s} {line(theirs[v])}  peak {variants[v].peak:.0f} MB")
        half = {v: t for v, t in theirs.items() if "bf16" in v.split("+")}
        full = {v: t for v, t in theirs.items() if v not in half}
        for p in ours:
            for of, rivals in [("fp32", full)] + [("bf16", half)] * (p == "bf16"):
                if v := best(rivals):
                    ratios = [a / b for a, b in zip(rivals[v], ours[p])]
                    print(f"  {p} to PyTorch's best {of} ({v}): {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)
        for t in variants.values():
            t.p.stdin.close()
            t.p.wait()
