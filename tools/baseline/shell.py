#!/usr/bin/env python3
"""What a user waits for: bin/stylize as a process, from its start to its end, in seconds.

  shell.py [--device cuda] [--size 512] [--iterations 500] [--rounds 5] [--weights random] [--json FILE]

The first run of all is left out: it compiles the PTX, times the kernels and fills the caches, once a machine.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


def once(args, iterations, folder):
    command = ["bin/stylize", "testdata/content.jpg", "testdata/style.jpg", "-o", os.path.join(folder, "out.png"), "--json", "--quiet",
               "--device", args.device, "--size", str(args.size), "-n", str(iterations), "--weights", args.weights]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    wall = time.monotonic() - start
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return wall, json.loads(done.stdout)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cuda")
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--iterations", type=int, default=500)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--weights", default="random")
    p.add_argument("--json")
    args = p.parse_args()
    out = dict(size=args.size, iterations=args.iterations, weights=args.weights, first_s=[], all_s=[], setup_s=[], run_s=[])
    with tempfile.TemporaryDirectory() as folder:
        out["cold_s"], _ = once(args, 1, folder)
        for _ in range(args.rounds):
            out["first_s"].append(once(args, 1, folder)[0])
            wall, summary = once(args, args.iterations, folder)
            out["device"] = summary["device"]["name"]
            out["all_s"].append(wall)
            out["setup_s"].append(summary["result"]["setup_seconds"])
            out["run_s"].append(summary["result"]["run_seconds"])
    for key, what in (("first_s", "one iteration, picture written"), ("all_s", f"{args.iterations} iterations, picture written"),
                      ("setup_s", "  of which until the first"), ("run_s", "  of which iterations")):
        v = out[key]
        print(f"{what:42} {statistics.median(v):.3f} s ({min(v):.3f} to {max(v):.3f})")
    print(f"{'the very first run':42} {out['cold_s']:.3f} s")
    if args.json:
        with open(args.json, "w") as f:
            json.dump(out, f, indent=1)


if __name__ == "__main__":
    main()
