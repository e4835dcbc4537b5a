#!/usr/bin/env python3
"""Tables of what tools/baseline/run.sh measured.

  table.py DIR                 print them
  table.py --readme README.md  put the first of the newest folder of testdata/measurements between the file's markers
"""
import glob
import json
import os
import re
import statistics
import sys

START, END = "<!-- gpu: written by make readme-bench -->", "<!-- /gpu -->"
NONE = "No GPU has run these kernels yet, so there is nothing to show: `tools/baseline/run.sh` measures them and PyTorch side by side.\n"


def load(folder, name):
    path = os.path.join(folder, name + ".json")
    if not os.path.exists(path):
        return None
    with open(path) as f:
        return json.load(f)


def iteration(m):
    return statistics.median(m["iteration_us"]) / 1e3


def tables(folder, layers=True):
    ours = load(folder, "ours-fp16")
    if ours is None:
        sys.exit(f"{folder}: no ours-fp16.json")
    d = ours["device"]
    out = [f"{d['name']} ({d['detail']}), {ours.get('clock_mhz', 0):.0f} MHz under load, {ours['math_flop_per_second'] / 1e12:.0f} TFLOP/s "
           f"and {ours['copy_bytes_per_second'] / 1e12:.2f} TB/s by our probes; {os.path.basename(os.path.normpath(folder))}.", ""]
    torch = (load(folder, "torch") or {}).get("iterations", [])
    finite = [t for t in torch if t["finite"]]
    article = next((t["ms_median"] for t in finite if t["precision"] == "article"), None)
    out += ["| one iteration | ms | PyTorch's best | ratio | the article's script | ratio |", "| --- | --- | --- | --- | --- | --- |"]
    for name, label, precision in (("ours-fp16", "512x512 fp16", "fp16"), ("ours-fp16-again", "the same, behind PyTorch", "fp16"),
                                   ("ours-sm80", "512x512 fp16, kernels for sm_80", "fp16"), ("ours-tf32", "512x512 tf32", "tf32"),
                                   ("ours-256", "256x256 fp16", None), ("ours-1024", "1024x1024 fp16", None), ("ours-2048", "2048x2048 fp16", None)):
        m = load(folder, name)
        if m is None:
            continue
        ms = iteration(m)
        best = min((t["ms_median"] for t in finite if t["precision"] == precision), default=None)
        cell = lambda v: f"{v:.3f} | {v / ms:.2f}x" if v else " | "
        out.append(f"| {label} | {ms:.3f} | {cell(best)} | {cell(article if precision else None)} |")
    shell = load(folder, "shell")
    if shell:
        s = {k: statistics.median(shell[k]) for k in ("first_s", "all_s")}
        out += ["", f"From the shell, {shell['size']}x{shell['size']}, {shell['weights']} weights: {s['first_s']:.2f} s for one iteration with the picture written, "
                f"{s['all_s']:.2f} s for {shell['iterations']}; {shell['cold_s']:.1f} s the very first time, when kernels are compiled and timed."]
    for precision in ("fp16", "tf32") if layers else ():
        cudnn = load(folder, "layers-" + precision)
        m = load(folder, "ours-" + precision)
        if cudnn is None or m is None:
            continue
        out += ["", f"| {precision}, us | ours fprop | cuDNN | ours dgrad | cuDNN |", "| --- | --- | --- | --- | --- |"]
        for row in cudnn["layers"]:
            def mine(which):
                for l in m["launches"]:
                    if l["chosen"] and l["flop"] > 0 and re.search(rf"\b{row['layer']}\b", l["layer"]) and which in l["layer"].split(" …")[0] + l["kernel"]:
                        return f"{statistics.median(l['hot_us']):.1f}"
                return ""
            out.append(f"| {row['layer']} | {mine('fprop')} | {row['fprop_us']:.1f} | {mine('dgrad')} | {row['dgrad_us']:.1f} |")
        out += ["", "Ours include all that the epilogue does (ReLU, pooling, gradients of both, style and content); cuDNN's is the bare convolution."]
    return "\n".join(out) + "\n"


def main(args):
    if len(args) == 2 and args[0] == "--readme":
        folders = sorted(glob.glob("testdata/measurements/*/"))
        text = tables(folders[-1], layers=False) if folders else NONE
        with open(args[1]) as f:
            readme = f.read()
        if START not in readme or END not in readme:
            sys.exit(f"{args[1]}: no markers {START} … {END}")
        head, rest = readme.split(START, 1)
        with open(args[1], "w") as f:
            f.write(head + START + "\n" + text + END + rest.split(END, 1)[1])
    elif len(args) == 1 and os.path.isdir(args[0]):
        print(tables(args[0]), end="")
    else:
        sys.exit(__doc__.strip())


if __name__ == "__main__":
    main(sys.argv[1:])
