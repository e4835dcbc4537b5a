"""Makes testdata/parity: what PyTorch computes for the same network, pictures and settings.

    python3 -m venv .venv && .venv/bin/pip install -r tools/parity/requirements.txt
    .venv/bin/python tools/parity/generate.py testdata/parity

Weights are those of `--weights random:1` (vgg/weights/random.go), repeated here in NumPy. Everything runs in
float64, so the fixtures are the truth that fp32 is measured against; PyTorch's own fp32 error is printed and stored
beside it. Tensors are NHWC.
"""
import sys, math
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from PIL import Image

torch.set_grad_enabled(True)
LAYERS = []  # (kind, c, k) with torchvision's indices 0..29
c = 3
for i, (n, k) in enumerate([(2, 64), (2, 128), (4, 256), (4, 512), (1, 512)]):
    if i:
        LAYERS.append(("pool", c, c))
    for _ in range(n):
        LAYERS += [("conv", c, k), ("relu", k, k)]
        c = k
STYLE, CONTENT = [1, 6, 11, 20, 29], 22
ITERATIONS, LR = 50, 0.01
LAM_CONTENT, LAM_STYLE, LAM_TV = 1e-3, 1e7, 5e-3


def mix(z):
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def values(seed, tensor, n, std):
    z = mix(np.array([(seed << 32) + tensor], np.uint64)) + np.arange(n, dtype=np.uint64)
    u = mix(z)
    s = sum(((u >> np.uint64(q)) & np.uint64(0xFFFF)).astype(np.int64) for q in (0, 16, 32, 48)) - 131070
    return (s.astype(np.float64) * (std / 37837.22723720648)).astype(np.float32)


def weights(seed, dtype):
    out, conv = [], 0
    for kind, c, k in LAYERS:
        if kind != "conv":
            continue
        w = values(seed, 2 * conv, k * 9 * c, math.sqrt(2 / (9 * c))).reshape(k, 3, 3, c).transpose(0, 3, 1, 2)
        b = values(seed, 2 * conv + 1, k, 0.01)
        out.append((torch.tensor(np.ascontiguousarray(w)).to(dtype), torch.tensor(b).to(dtype)))
        conv += 1
    return out


def features(x, ws):
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=x.dtype).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=x.dtype).view(1, 3, 1, 1)
    x, conv, outs = (x - mean) / std, 0, []
    for kind, _, _ in LAYERS:
        if kind == "conv":
            x = F.conv2d(x, *ws[conv], padding=1)
            conv += 1
        elif kind == "relu":
            x = F.relu(x)
        else:
            x = F.avg_pool2d(x, 2, 2)
        outs.append(x)
    return outs


def gram(f):
    b, c, h, w = f.size()
    t = f.reshape(b * c, h * w)
    return torch.mm(t, t.t()).div(b * c * h * w)


def tv(x):
    return ((x[..., :, :-1] - x[..., :, 1:]).abs().sum() + (x[..., :-1, :] - x[..., 1:, :]).abs().sum()) / x.numel()


def picture(h, w, seed):
    """Smooth colour fields with edges, 8 bits, so that it is the same in every language."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    p = np.zeros((h, w, 3))
    for ch in range(3):
        a, b, d = 1 + seed + ch, 2 + 0.7 * seed - ch * 0.5, 0.3 * ch
        p[..., ch] = 0.5 + 0.3 * np.sin(2 * math.pi * (a * x / w + d)) * np.cos(2 * math.pi * b * y / h)
        p[..., ch] += 0.2 * (((x * (seed + 1) + y * (3 - ch)) // 7) % 2) - 0.1
    return (np.clip(p, 0, 1) * 255 + 0.5).astype(np.uint8)


def nhwc(t):
    return np.ascontiguousarray(t.detach().to(torch.float64).permute(0, 2, 3, 1).numpy())


def optimise(content, style, preset, ws, dtype):
    content, style = content.to(dtype), style.to(dtype)
    with torch.no_grad():
        targets = [gram(features(style, ws)[i]) for i in STYLE]
        goal = features(content, ws)[CONTENT]
    x = content.clone().requires_grad_(True)
    opt = torch.optim.Adam([x], lr=LR, betas=(0.9, 0.999), eps=1e-8)
    rows, grad0 = [], None
    for it in range(ITERATIONS):
        opt.zero_grad()
        out = features(x, ws)
        lc = F.mse_loss(out[CONTENT], goal) * LAM_CONTENT
        ls = sum(F.mse_loss(gram(out[i]), t) for i, t in zip(STYLE, targets)) * LAM_STYLE
        lt = tv(style if preset == "article" else x) * LAM_TV
        (lc + ls + lt).backward()
        if grad0 is None:
            grad0 = x.grad.clone()
        if preset == "article":
            x.data.clamp_(0, 1)
            opt.step()
        else:
            opt.step()
            x.data.clamp_(0, 1)
        rows.append([lc.item(), ls.item(), float(lt), x.mean().item(), x.std().item()])
    return np.array(rows), grad0, x


def main(out):
    report = []
    for w, h in [(64, 48), (97, 61)]:
        content8, style8 = picture(h, w, 1), picture(h, w, 4)
        to = lambda p: torch.tensor(p.astype(np.float32) / np.float32(255)).permute(2, 0, 1)[None].double()
        content, style = to(content8), to(style8)
        fix = {"content": (content8.astype(np.float32) / np.float32(255))[None],
               "style": (style8.astype(np.float32) / np.float32(255))[None]}
        ws64, ws32 = weights(1, torch.float64), weights(1, torch.float32)
        with torch.no_grad():
            for i, t in enumerate(features(content, ws64)):
                v = nhwc(t).ravel()
                step = max(len(v) // 97, 1)
                fix[f"layer{i:02d}.samples"] = v[::step].astype(np.float32)
                fix[f"layer{i:02d}.norm"] = np.array([np.linalg.norm(v), v.sum()], np.float64)
        for preset in ["default", "article"]:
            rows, grad, x = optimise(content, style, preset, ws64, torch.float64)
            rows32, grad32, x32 = optimise(content, style, preset, ws32, torch.float32)
            fix[f"{preset}.rows"] = rows
            fix[f"{preset}.gradient"] = nhwc(grad).astype(np.float32)
            fix[f"{preset}.final"] = nhwc(x.clamp(0, 1)).astype(np.float16)
            g = (grad32.double() - grad).norm() / grad.norm()
            safe = np.maximum(np.abs(rows[:, :3]), 1e-12)
            worst = np.max(np.abs(rows32[:, :3] - rows[:, :3]) / safe, axis=0)
            mse = ((x32.double().clamp(0, 1) - x.clamp(0, 1)) ** 2).mean().item()
            psnr = 10 * math.log10(1 / max(mse, 1e-30))
            fix[f"{preset}.torch32"] = np.array([g, *worst, psnr], np.float64)
            report.append(f"{w}x{h} {preset}: torch fp32 against fp64: gradient {g:.2e}, losses {worst}, PSNR {psnr:.1f} dB")
        save_file(fix, f"{out}/torch_{w}x{h}.safetensors")
    # torchvision's Resize((N, N)) on a PIL picture, which the article preset repeats
    src = Image.fromarray(picture(75, 131, 2))
    src.save(f"{out}/resize_131x75.png")
    for n, size in {"down": (48, 48), "up": (200, 160)}.items():
        src.resize(size, Image.BILINEAR).save(f"{out}/resize_bilinear_{n}.png")
        src.resize(size, Image.BICUBIC).save(f"{out}/resize_bicubic_{n}.png")
    print("\n".join(report))


if __name__ == "__main__":
    main(sys.argv[1])
