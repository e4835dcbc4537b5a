"""Compares the losses of the preset `article` from photographs, as files, with those of PIL and PyTorch in float64.

    .venv/bin/python tools/parity/photographs.py bin/stylize [CONTENT STYLE]

Everything counts that lies between a file and a loss: decoding, resizing, rounding, the network, the optimiser. Without
pictures of your own it takes the photographs that Go's toolchain brings (src/image/testdata), as JPEGs of several
samplings and as PNG, and the two samples. It prints the worst relative difference of each loss in 50 iterations, and
fails where one is above 0.1 %.
"""
import csv, os, subprocess, sys, tempfile
import numpy as np
import torch
from PIL import Image
from generate import ITERATIONS, optimise, weights

LIMIT, SIZES = 1e-3, (64, 96)


def pairs():
    goroot = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    photo = lambda name: os.path.join(goroot, "src/image/testdata", name)
    samples = os.path.join(os.path.dirname(__file__), "../../testdata/")
    yield photo("video-001.jpeg"), samples + "style.jpg"
    yield photo("video-001.png"), samples + "style.jpg"
    yield photo("video-001.progressive.jpeg"), photo("video-005.gray.jpeg")
    yield photo("video-001.q50.420.jpeg"), samples + "style.jpg"
    yield samples + "content.jpg", photo("video-001.q50.410.jpeg")
    yield samples + "content.jpg", samples + "style.jpg"


def load(path, size):
    """The article's loader: RGB, Resize((size, size)), ToTensor."""
    im = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return torch.tensor(np.asarray(im, np.float32) / np.float32(255)).permute(2, 0, 1)[None].double()


def losses(binary, content, style, size):
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "trace.csv")
        subprocess.run([binary, content, style, "--preset", "article", "--size", str(size), "--iterations", str(ITERATIONS), "--weights", "random:1",
                        "--device", "cpu", "--trace", trace, "--output", os.path.join(folder, "out.png"), "--quiet"], check=True)
        with open(trace) as f:
            return np.array([[float(r[k]) for k in ("content", "style", "tv")] for r in csv.DictReader(f)])


def main(binary, *pictures):
    ws, bad = weights(1, torch.float64), 0
    print("| content | style | size | content, style, tv loss: worst of 50 iterations |\n| --- | --- | --- | --- |")
    for content, style in [pictures] if pictures else pairs():
        for size in SIZES:
            want, _, _ = optimise(load(content, size), load(style, size), "article", ws, torch.float64)
            got = losses(binary, content, style, size)
            worst = np.max(np.abs(got - want[:, :3]) / np.maximum(np.abs(want[:, :3]), 1e-12), axis=0)
            bad += not (worst <= LIMIT).all()
            print(f"| {os.path.basename(content)} | {os.path.basename(style)} | {size} | {', '.join(f'{v:.1e}' for v in worst)} |", flush=True)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
