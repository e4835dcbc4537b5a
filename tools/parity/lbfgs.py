"""Makes testdata/parity/lbfgs.json: whole runs of projected L-BFGS in PyTorch.

    .venv/bin/python tools/parity/lbfgs.py testdata/parity

The algorithm of gpu.LBFGSParams as it is written down: the two loops on every s and y of the last pairs, and
P = 1 - k B between them, in float64, on the network, pictures, weights of the loss and random weights of generate.py. The
losses of float32 are stored beside those, to say how far a run may drift by rounding alone.
"""
import json, sys
import numpy as np
import torch
import torch.nn.functional as F
from generate import STYLE, CONTENT, LAM_CONTENT, LAM_STYLE, LAM_TV, features, gram, picture, tv, weights

EVALUATIONS, HISTORY, FIRST, MOST, RISE = 50, 8, 0.05, 0.5, 0.2


def blur(v):
    k = torch.tensor([1, 2, 1], dtype=v.dtype) / 4
    return F.conv2d(v, torch.outer(k, k).expand(3, 1, 3, 3), padding=1, groups=3)


def run(content, style, ws, dtype):
    content, style = content.to(dtype), style.to(dtype)
    with torch.no_grad():
        targets, goal = [gram(features(style, ws)[i]) for i in STYLE], features(content, ws)[CONTENT]

    def evaluate(x):
        x = x.detach().requires_grad_(True)
        out = features(x, ws)
        loss = F.mse_loss(out[CONTENT], goal) * LAM_CONTENT + tv(x) * LAM_TV
        loss = loss + sum(F.mse_loss(gram(out[i]), t) for i, t in zip(STYLE, targets)) * LAM_STYLE
        loss.backward()
        return loss.item(), x.grad

    dot = lambda a, b: float((a * b).sum())
    x, pairs, k, t, last, losses = content.clone(), [], 0., 1., None, []
    smooth = lambda v: v - k * blur(v)
    while len(losses) < EVALUATIONS:
        loss, g = evaluate(x)
        losses.append(loss)
        if last and loss > last[2] + RISE * abs(last[2]):   # back, and a shorter step; the second time along the gradient
            t, refused = t * .3, refused + 1
            if refused >= 2:
                pairs, d = [], -free * ga * FIRST / float(ga.abs().max())
        else:
            if last:
                s, y = x - last[0], g - last[1]
                if dot(s, y) > 1e-10 * dot(y, smooth(y)):
                    pairs = (pairs + [(s, y)])[-HISTORY:]
            a, ga, t, refused = x, g, 1., 0
            last = a, ga, loss
            free = (~(((a <= 0) & (ga > 0)) | ((a >= 1) & (ga < 0)))).to(dtype)
            q, alphas = free * ga, []
            for s, y in reversed(pairs):
                alphas.append(dot(s, q) / dot(s, y))
                q = q - alphas[-1] * y
            if pairs:
                s, y = pairs[-1]
                q = smooth(q) * dot(s, y) / dot(y, smooth(y))
            for (s, y), alpha in zip(pairs, reversed(alphas)):
                q = q + (alpha - dot(y, q) / dot(s, y)) * s
            d = -free * q
            if not pairs or not dot(q, free * ga) > 0:
                v = free * ga
                pairs, d, k = [], -v * FIRST / float(ga.abs().max()), min(max((4 * dot(v, blur(v)) / dot(v, v) - 1) / 3, 0), .9)
        x = (a + t * min(1, MOST / float(d.abs().max())) * d).clamp(0, 1)
    return losses


def main(out):
    runs = []
    for w, h in [(64, 48), (97, 61)]:
        to = lambda p: torch.tensor(p.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None].double()
        content, style = to(picture(h, w, 1)), to(picture(h, w, 4))
        truth = run(content, style, weights(1, torch.float64), torch.float64)
        single = run(content, style, weights(1, torch.float32), torch.float32)
        print(f"{w}x{h}: {truth[0]:.4g} to {truth[-1]:.4g}; float32 is off by up to {max(abs(a / b - 1) for a, b in zip(single, truth)):.2g}")
        runs.append({"width": w, "height": h, "losses": truth, "float32": single})
    with open(f"{out}/lbfgs.json", "w") as f:
        json.dump({"history": HISTORY, "runs": runs}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
