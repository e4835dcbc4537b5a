#!/usr/bin/env python3
"""The roofline picture of kernels/docs: every launch of an iteration by its FLOPs a byte and its rate.

  kernelbench --device cuda --json >m.json && roofline.py m.json kernels/docs/roofline.svg
  kernelbench --device sim --size 32 --json is read too, for the kernels alone: it has no rates, so the launches of the real
  size stand on the roof itself, where a GPU would have to put them.

Needs matplotlib. The roof is what the probes measured, or, without a GPU, the figures of kernels/docs/README.md.
"""
import json
import statistics
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

ASSUMED = dict(math=790e12, copy=4.3e12)   # an H200, kernels/docs/README.md
GROUPS = [("conv3x3_wgmma", "convolutions, sm_90a", "#1f77b4"), ("conv3x3_mma", "convolutions, sm_80", "#17becf"),
          ("conv3x3_first", "first layer", "#2ca02c"), ("gram_fwd", "Gram matrices", "#d62728")]


def main(source, target):
    with open(source) as f:
        m = json.load(f)
    measured = "math_flop_per_second" in m
    math = m.get("math_flop_per_second") or ASSUMED["math"]
    copy = m.get("copy_bytes_per_second") or ASSUMED["copy"]
    matplotlib.rcParams["svg.hashsalt"] = "roofline"   # the same picture, the same file
    fig, ax = plt.subplots(figsize=(8, 4.5))
    ridge = math / copy
    ax.plot([1, ridge, 4000], [copy, math, math], color="black", lw=1.5)
    ax.text(ridge, math * 1.15, f"ridge {ridge:.0f} FLOP/B", fontsize=8, ha="center")
    for prefix, label, colour in GROUPS:
        xs, ys = [], []
        for l in m["launches"]:
            if not l["kernel"].startswith(prefix) or not l["chosen"] or l["flop"] == 0:
                continue
            x = l["flop"] / l["bytes"]
            xs.append(x)
            ys.append(l["flop"] / statistics.median(l["hot_us"]) * 1e6 if l.get("hot_us") else min(math, x * copy))
        if xs:
            ax.scatter(xs, ys, s=22, color=colour, label=f"{label} ({len(xs)} launches)", alpha=0.8)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlim(1, 4000)
    ax.set_ylim(copy, math * 2)
    ax.set_xlabel("FLOP a byte (every array once)")
    ax.set_ylabel("FLOP/s")
    what = m["device"]["name"] if measured else "no GPU has measured this: points stand where the floor is, the roof is an H200's"
    ax.set_title(f"{what}; {m['precision']}", fontsize=9)
    ax.legend(fontsize=8, loc="lower right")
    ax.grid(True, which="major", lw=0.3)
    fig.tight_layout()
    fig.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    main(sys.argv[1], sys.argv[2])
