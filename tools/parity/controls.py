"""Makes testdata/parity/controls_WxH.safetensors: what PyTorch computes where several styles, layers, regions and
borders are asked for. See generate.py, whose network, weights and pictures these are.

    .venv/bin/python tools/parity/controls.py testdata/parity [CONTROL…]

Each control is a whole loss of its own: 50 steps of Adam in float64, the losses of each, and the gradient of the first.
"""
import sys
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from generate import LAYERS, ITERATIONS, LR, LAM_CONTENT, LAM_STYLE, LAM_TV, features, weights, picture, nhwc, gram, tv

NAMES, _block, _conv = [], 1, 0
for _kind, _, _ in LAYERS:
    if _kind == "conv":
        _conv += 1
    if _kind == "pool":
        NAMES.append(f"pool{_block}")
        _block, _conv = _block + 1, 0
    else:
        NAMES.append(f"{_kind}{_block}_{_conv}")
STYLE = {"relu1_1": 1, "relu2_1": 1, "relu3_1": 1, "relu4_1": 1, "relu5_1": 1}
CONTENT = {"relu4_2": 1}
PAD = 16


def padded(x, mode):
    if mode == "zero":
        return x
    p = min(PAD, x.shape[2] - 1, x.shape[3] - 1)
    return F.pad(x, (p, p, p, p), mode={"reflect": "reflect", "wrap": "circular"}[mode])


def at(x, names, ws, mode):
    out = features(padded(x, mode), ws)
    return {n: out[NAMES.index(n)] for n in names}


def halved(mask, name, mode):
    """A mask as a layer sees it: nothing beyond the border, and averaged by every pool before it."""
    m = mask
    if mode != "zero":
        p = min(PAD, mask.shape[2] - 1, mask.shape[3] - 1)
        m = F.pad(mask, (p, p, p, p))
    for n in NAMES[:NAMES.index(name)]:
        if n.startswith("pool"):
            m = F.avg_pool2d(m, 2, 2)
    return m


def guided(f, mask):
    """The Gram matrix of a region: the mean over its pixels, each counted by its mask."""
    c = f.shape[1]
    t = f.reshape(c, -1)
    m = mask.reshape(1, -1)
    return (t * m) @ t.t() / (c * m.sum())


def optimise(content, regions, ws, style=STYLE, layers=CONTENT, mode="zero", hold=None, average=0.0, style_mode=None):
    """regions: list of (mask or None, [(style picture, its mask or None, weight)])."""
    style_mode = style_mode or ("reflect" if mode != "zero" else "zero")
    ones = lambda p: torch.ones_like(p[:, :1])
    partly = any(m is not None for m, _ in regions)
    if mode != "zero":  # what continues a picture counts for nothing
        regions = [(ones(content) if m is None else m, [(p, ones(p) if a is None else a, w) for p, a, w in ps]) for m, ps in regions]
        hold = ones(content) if hold is None else hold
    with torch.no_grad():
        targets = []
        for mask, pictures in regions:
            total = sum(w for _, _, w in pictures)
            blend = {n: 0 for n in style}
            for p, alpha, w in pictures:
                f = at(p, style, ws, style_mode)
                for n in style:
                    g = gram(f[n]) if alpha is None else guided(f[n], halved(alpha, n, style_mode))
                    blend[n] = blend[n] + w / total * g
            targets.append(blend)
        goal = at(content, layers, ws, mode)
    x = content.clone().requires_grad_(True)
    opt = torch.optim.Adam([x], lr=LR, betas=(0.9, 0.999), eps=1e-8)
    painted = None
    if partly:
        painted = (sum(m for m, _ in regions) > 1 / 512).to(x.dtype)
    rows, grad0, mean, weight = [], None, torch.zeros_like(content), 0.0
    for _ in range(ITERATIONS):
        opt.zero_grad()
        f = at(x, set(style) | set(layers), ws, mode)
        lc = 0
        for n, w in layers.items():
            d = (f[n] - goal[n]) ** 2
            if hold is not None:
                d = d * halved(hold, n, mode) / halved(ones(content), n, mode).mean()
            lc = lc + w * LAM_CONTENT * d.mean()
        ls = 0
        for (mask, _), target in zip(regions, targets):
            for n, w in style.items():
                g = gram(f[n]) if mask is None else guided(f[n], halved(mask, n, mode))
                area = 1 if mask is None else mask.mean()
                ls = ls + area * w * LAM_STYLE * F.mse_loss(g, target[n])
        lt = tv(x) * LAM_TV
        (lc + ls + lt).backward()
        if painted is not None:
            x.grad *= painted
        if grad0 is None:
            grad0 = x.grad.clone()
        opt.step()
        x.data.clamp_(0, 1)
        mean = average * mean + (1 - average) * x.data
        weight = average * weight + (1 - average)
        rows.append([float(lc), float(ls), float(lt)])
    return np.array(rows), grad0, mean / weight


def main(out, only=()):
    ws = weights(1, torch.float64)
    for w, h in [(64, 48), (97, 61)]:
        to = lambda p: torch.tensor(p.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None].double()
        content, one, two = to(picture(h, w, 1)), to(picture(h, w, 4)), to(picture(h // 2, w, 2))
        x = torch.arange(w).double().view(1, 1, 1, w).expand(1, 1, h, w)
        left = ((0.55 * w - x) / (0.1 * w)).clamp(0, 1)  # white, a soft edge, black
        left = (left * 255).round() / 255
        right = 1 - left
        some = (right * 0.6 * 255).round() / 255  # leaves some of the picture alone
        some[..., : h // 3, :] = 0
        runs = {
            "blend": dict(regions=[(None, [(one, None, 2.0), (two, None, 1.0)])]),
            "layers": dict(regions=[(None, [(one, None, 1.0)])], style={"relu1_2": 0.5, "relu3_1": 2, "relu4_2": 1}, layers={"relu2_2": 0.25, "relu4_2": 1}),
            "regions": dict(regions=[(left, [(one, None, 1.0)]), (right, [(two, None, 1.0)])]),
            "partly": dict(regions=[(some, [(one, None, 1.0)])]),
            "hold": dict(regions=[(None, [(one, None, 1.0)])], hold=left),
            "reflect": dict(regions=[(None, [(one, None, 1.0)])], mode="reflect"),
            "wrap": dict(regions=[(None, [(one, None, 1.0)])], mode="wrap"),
            "all": dict(regions=[(left, [(one, None, 1.0), (two, None, 3.0)]), (right, [(two, None, 1.0)])], mode="reflect", hold=right,
                        style={"relu2_1": 1, "relu4_1": 0.5}, layers={"relu3_3": 1}),
            "average": dict(regions=[(None, [(one, None, 1.0)])], average=0.9),
        }
        fix = {"content": nhwc(content).astype(np.float32), "one": nhwc(one).astype(np.float32), "two": nhwc(two).astype(np.float32),
               "left": left[0, 0].numpy().astype(np.float32), "right": right[0, 0].numpy().astype(np.float32), "some": some[0, 0].numpy().astype(np.float32)}
        if only:  # keep the others
            fix = load_file(f"{out}/controls_{w}x{h}.safetensors")
        for name, run in runs.items():
            if only and name not in only:
                continue
            rows, grad, mean = optimise(content, ws=ws, **run)
            fix[f"{name}.rows"] = rows.astype(np.float32)
            fix[f"{name}.gradient"] = nhwc(grad).astype(np.float32)
            if "average" in run:
                fix[f"{name}.final"] = nhwc(mean).astype(np.float32)
            print(f"{w}x{h} {name}: style {rows[0, 1]:.4g} to {rows[-1, 1]:.4g}", flush=True)
        save_file(fix, f"{out}/controls_{w}x{h}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
