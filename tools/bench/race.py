#!/usr/bin/env python3
"""A race to the article's loss. Needs torch, pillow, numpy, safetensors, and go for the pictures.

The goal is the loss that PyTorch has after 1000 steps of Adam with lr 0.01, the picture kept in [0,1], as the article
does it. How many evaluations, how much arithmetic and how long does it take stylize (its default preset, with more
at the last size) and PyTorch's own L-BFGS (20 pairs, no line search) to come there? The same
pictures, the same random weights, the same cores, one after the other in each round. PyTorch's L-BFGS knows no bounds:
its picture is clamped when its loss is taken.

Arithmetic is counted in evaluations at the size, those of smaller levels by their FLOPs."""
import argparse, csv, json, pathlib, subprocess, sys, tempfile, time
import numpy as np, torch, torch.nn as nn
from PIL import Image
from safetensors.torch import load_file

args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
args.add_argument("stylize", type=pathlib.Path)
args.add_argument("--size", type=int, default=128)
args.add_argument("--rounds", type=int, default=1)
args.add_argument("--steps", type=int, default=1000, help="of PyTorch's Adam; it takes most of an hour for 1000 at 512. With fewer, their time is scaled "
                  "to 1000, the goal is the loss of stylize's own Adam, which makes the same steps, and PyTorch's L-BFGS does not run")
args.add_argument("--pictures", default="landscape", help="of landscape, flat, lines, night, portrait, texture; with commas between")
args = args.parse_args()
stylize, size, steps = args.stylize.resolve(), args.size, args.steps
root, folder = pathlib.Path(__file__).resolve().parents[2], tempfile.TemporaryDirectory()
tmp = pathlib.Path(folder.name)
subprocess.run(["go", "run", "./tools/samples", "-kinds", "-dir", tmp], cwd=root, check=True)
subprocess.run([stylize, "weights", "convert", "random:1", tmp / "w.safetensors"], check=True, capture_output=True)


def resample(path, name):
    """Makes a square of a picture, so that both programs have the same pixels."""
    Image.open(path).convert("RGB").resize((size, size), Image.BICUBIC).save(tmp / f"{name}.png")


weights, layers, c = load_file(tmp / "w.safetensors"), [], 3
for v in [64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512]:
    if not v:
        layers.append(nn.AvgPool2d(2))
        continue
    conv = nn.Conv2d(c, v, 3, padding=1)
    conv.weight.data, conv.bias.data = weights[f"features.{len(layers)}.weight"].float(), weights[f"features.{len(layers)}.bias"].float()
    layers += [conv, nn.ReLU()]
    c = v
net = nn.Sequential(*layers).eval().requires_grad_(False).to(memory_format=torch.channels_last)
load = lambda p: torch.tensor(np.asarray(Image.open(p), np.float32) / 255).permute(2, 0, 1)[None].contiguous()
resample(root / "testdata/style.jpg", "style")
style = load(tmp / "style.png")
mean, std = torch.tensor([.485, .456, .406]).view(1, 3, 1, 1), torch.tensor([.229, .224, .225]).view(1, 3, 1, 1)
STYLE, CONTENT = [1, 6, 11, 20, 29], 22


def features(t):
    t, out = ((t - mean) / std).contiguous(memory_format=torch.channels_last), {}
    for i, l in enumerate(net):
        t = l(t)
        out[i] = t
    return out


def gram(t):
    v = t.permute(0, 2, 3, 1).reshape(-1, t.shape[1])
    return v.t() @ v / t.numel()


with torch.no_grad():
    grams = [gram(features(style)[i]) for i in STYLE]


def loss(x):
    o = features(x)
    l = 1e-3 * ((o[CONTENT] - goal_features) ** 2).mean() + 1e7 * sum(((gram(o[i]) - t) ** 2).mean() for i, t in zip(STYLE, grams))
    return l + 5e-3 * ((x[:, :, 1:] - x[:, :, :-1]).abs().sum() + (x[..., 1:] - x[..., :-1]).abs().sum()) / x.numel()


def adam(n):
    x, last = content.clone().requires_grad_(True), 0.
    opt, start = torch.optim.Adam([x], lr=.01), time.time()
    for _ in range(n):
        opt.zero_grad()
        l = loss(x)
        l.backward()
        last = l.item()
        opt.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    return last, time.time() - start


def paint(*flags):
    """Paints with stylize, and returns the rows of its trace."""
    subprocess.run([stylize, tmp / "content.png", tmp / "style.png", "-o", tmp / "out.png", "--size", str(size), "--weights", tmp / "w.safetensors", "--device", "cpu",
                    "--trace", tmp / "t.csv", "--quiet", *flags], check=True)
    return list(csv.DictReader((tmp / "t.csv").open()))


def our_adam(n):
    return float(paint("--optimizer", "adam", "--ladder", "off", "-n", str(n), "--lr", "0.01")[-1]["total"])


def torch_lbfgs(goal, most=400):
    """Evaluations and seconds to the goal, of the picture clamped; None if it does not come there."""
    x, seen, start, looked = content.clone().requires_grad_(True), 0, time.time(), 0.
    opt = torch.optim.LBFGS([x], lr=1, max_iter=1, max_eval=1, history_size=20)

    def closure():
        nonlocal seen
        seen += 1
        opt.zero_grad()
        l = loss(x)
        l.backward()
        return l
    while seen < most:
        opt.step(closure)
        t = time.time()
        with torch.no_grad():
            done = loss(x.clamp(0, 1)).item() <= goal
        looked += time.time() - t
        if done:
            return seen, time.time() - start - looked
    return None


def ours(goal):
    # The ladder of the default preset, with more at the last size, so that the goal is passed.
    plan = subprocess.run([stylize, "plan", tmp / "content.png", tmp / "style.png", "--size", str(size), "--weights", tmp / "w.safetensors",
                           "--device", "cpu", "--json"], check=True, capture_output=True, text=True).stdout
    sizes = [l["width"] for l in json.loads(plan)["levels"]]
    ladder = ",".join(f"{s}:{120 if s == size else 40}" for s in sizes) if len(sizes) > 1 else "off"
    rows = paint("--ladder", ladder)
    top = [r for r in rows if r["level"] == f"{size}x{size}"]
    each = float(top[1]["gflop"]) - float(top[0]["gflop"])
    # The first row of a level has the time of its targets; the clock begins with the program.
    first = next((r for r in top if float(r["total"]) <= goal), None)
    if first is None:
        sys.exit(f"race: stylize came to {top[-1]['total']}, the goal is {goal}")
    return int(first["evaluation"]), float(first["gflop"]) / each, float(first["seconds"])


for picture in args.pictures.split(",") * args.rounds:
    resample(root / "testdata/content.jpg" if picture == "landscape" else tmp / f"{picture}.jpg", "content")
    content = load(tmp / "content.png")
    with torch.no_grad():
        goal_features = features(content)[CONTENT]
    goal, t_adam = adam(steps)
    t_adam *= 1000 / steps
    if steps < 1000:
        goal = our_adam(1000)
    n, arithmetic, t_ours = ours(goal)
    theirs = torch_lbfgs(goal) if steps == 1000 else None
    theirs = f"{theirs[0]}, {theirs[1]:.1f} s" if theirs else "does not come there in 400" if steps == 1000 else "not tried"
    print(f"{picture}, {size}x{size}, goal {goal:.4g}: PyTorch's Adam 1000 evaluations, {t_adam:.1f} s{f', of {steps} steps' if steps < 1000 else ''}; PyTorch's L-BFGS {theirs}; "
          f"stylize {n}, arithmetic of {arithmetic:.1f}, {t_ours:.2f} s with everything: 1/{1000 / arithmetic:.1f} of the arithmetic, 1/{t_adam / t_ours:.1f} of the time", flush=True)
