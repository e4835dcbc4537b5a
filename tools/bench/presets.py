#!/usr/bin/env python3
"""Measures the presets: presets.py STYLIZE [SIZE [PRESET,...]]. Prints the table of kernels/docs/presets.md.

Each preset paints each kind of picture (tools/samples -kinds, and the sample landscape) in the sample style, with random
weights on the CPU. The loss is that of the last evaluation at the working size, as a share of what classic comes to on the
same picture; arithmetic and seconds are shares of classic's too, of runs in one go."""
import json, pathlib, statistics, subprocess, sys, tempfile

stylize, size = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2] if len(sys.argv) > 2 else "128"
presets = sys.argv[3].split(",") if len(sys.argv) > 3 else ["classic", "draft", "default", "best"]
root = pathlib.Path(__file__).resolve().parents[2]
with tempfile.TemporaryDirectory() as tmp:
    tmp = pathlib.Path(tmp)
    subprocess.run(["go", "run", "./tools/samples", "-kinds", "-dir", tmp], cwd=root, check=True)
    kinds = {p.stem: p for p in sorted(tmp.glob("*.jpg"))} | {"landscape": root / "testdata/content.jpg"}
    seen = {}
    for kind, content in kinds.items():
        for preset in presets:
            out = subprocess.run(
                [stylize, content, root / "testdata/style.jpg", "-o", tmp / "out.png", "--size", size, "--preset", preset, "--weights", "random",
                 "--device", "cpu", "--trace", tmp / "trace.csv", "--json", "--quiet"], check=True, capture_output=True, text=True).stdout
            result, last = json.loads(out)["result"], (tmp / "trace.csv").read_text().split("\n")[-2].split(",")
            seen[kind, preset] = float(last[5]), int(last[0]), float(last[9]), result["run_seconds"]
            print(f"{kind:10} {preset:8} loss {float(last[5]):.4g}, {last[0]} evaluations, {float(last[9]):.0f} GFLOP, {result['run_seconds']:.1f} s", file=sys.stderr, flush=True)
print(f"| Preset | Evaluations | Arithmetic | Seconds | " + " | ".join(kinds) + " | median |")
print("| --- " * (5 + len(kinds)) + "|")
for preset in presets:
    share = lambda i: [seen[k, preset][i] / seen[k, presets[0]][i] for k in kinds]
    print(f"| `{preset}` | {seen['landscape', preset][1]} | {statistics.median(share(2)):.3f} | {statistics.median(share(3)):.3f} | " +
          " | ".join(f"{v:.2f}" for v in share(0)) + f" | {statistics.median(share(0)):.2f} |")
