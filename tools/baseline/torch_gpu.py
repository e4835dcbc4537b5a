#!/usr/bin/env python3
"""The same job in PyTorch, as fast as its modes make it: what kernelbench's figures are compared with.

One iteration is everything that a user waits for: VGG19 features 0..29 with 2x2 average pools, content at relu4_2,
Gram matrices at five layers, total variation, the gradient of the pixels, Adam, clamp. Random (He) weights and
pictures; nothing is downloaded. Weights are frozen, targets computed once, TF32 is set for cuDNN and cuBLAS alike,
fp16 scales its loss, the whole step is one CUDA graph where the mode says so, and Gram matrices are products of
16-bit features with fp32 results. The article's mode is its script's own: NCHW, PyTorch's default flags, eager.

  torch_gpu.py                                      one mode: --precision fp16, channels_last, eager
  torch_gpu.py --cudagraph --compile max-autotune-no-cudagraphs
  torch_gpu.py --all --json iteration.json          every mode (minutes: it compiles)
  torch_gpu.py --layers --json layers.json          cuDNN, each convolution, both passes
  torch_gpu.py --ceilings                           products, copies and Gram matrices of this card
  torch_gpu.py --parity                             losses and gradient against strict fp32
"""
import argparse
import json
import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F

CFG = [64, 64, "A", 128, 128, "A", 256, 256, 256, 256, "A", 512, 512, 512, 512, "A", 512]
NAMES = ["1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1", "4_2", "4_3", "4_4", "5_1"]
STYLE = {"1_1", "2_1", "3_1", "4_1", "5_1"}
DTYPE = {"article": torch.float32, "fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def set_precision(p):
    """Strict fp32 or TF32 for BOTH cuDNN and cuBLAS (cuDNN's default is TF32 on, cuBLAS's is off), or those defaults."""
    if p == "article":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = False
        return
    tf = p == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = tf
    torch.backends.cudnn.allow_tf32 = tf
    torch.backends.cudnn.benchmark = True


def vgg_weights(dev, seed=0):
    """He-normal convolutions, small biases."""
    g = torch.Generator(device="cpu").manual_seed(seed)
    ws, cin = [], 3
    for v in CFG:
        if v == "A":
            continue
        w = torch.randn(v, cin, 3, 3, generator=g) * math.sqrt(2.0 / (9 * cin))
        b = torch.randn(v, generator=g) * 0.05
        ws.append((w.to(dev), b.to(dev)))
        cin = v
    return ws


class GramHalf(torch.autograd.Function):
    """Gram of 16-bit features with an fp32 result (fp32 accumulation), both directions on tensor cores."""

    @staticmethod
    def forward(ctx, f, inv, gscale):                  # f: [C, P] 16-bit
        ctx.save_for_backward(f)
        ctx.inv, ctx.gscale = inv, gscale
        return torch.mm(f, f.t(), out_dtype=torch.float32) * inv

    @staticmethod
    def backward(ctx, dg):                             # gscale keeps the small 16-bit matrix in range
        (f,) = ctx.saved_tensors
        m = ((dg + dg.t()) * (ctx.inv * ctx.gscale)).to(f.dtype)
        return torch.mm(m, f) * (1.0 / ctx.gscale), None, None


def have_out_dtype(dt, dev):
    try:
        a = torch.ones(16, 16, device=dev, dtype=dt)
        torch.mm(a, a, out_dtype=torch.float32)
        return True
    except (TypeError, RuntimeError):
        return False


class Transfer:
    def __init__(self, size, precision, a):
        dev = a.device
        set_precision(precision)
        self.prec, self.dt, self.a = precision, DTYPE[precision], a
        self.half = self.dt in (torch.float16, torch.bfloat16)
        self.cl = a.channels_last
        mf = torch.channels_last if self.cl else torch.contiguous_format
        self.mf = mf
        self.ws = [(w.to(self.dt).contiguous(memory_format=mf), b.to(self.dt)) for w, b in vgg_weights(dev)]
        self.gram_half = self.half and a.gram == "half" and have_out_dtype(self.dt, dev)
        self.lscale = float(2 ** a.log2_scale) if precision == "fp16" else 1.0
        g = torch.Generator(device="cpu").manual_seed(1)
        # low-passed noise in [0,1], so that the statistics are not white noise
        blur = lambda t: (F.avg_pool2d(F.pad(t, (2, 2, 2, 2), mode="reflect"), 5, 1) * 1.2 + 0.5).clamp(0, 1)
        content = blur(torch.randn(1, 3, size, size, generator=g)).to(dev)
        style = blur(torch.randn(1, 3, size, size, generator=g)).to(dev)
        self.mean = torch.tensor([0.485, 0.456, 0.406], device=dev).view(1, 3, 1, 1)
        self.std = torch.tensor([0.229, 0.224, 0.225], device=dev).view(1, 3, 1, 1)
        with torch.no_grad():
            self.tg = [x.detach().clone() for x in self.features(style)[0]]
            self.tc = self.features(content)[1].detach().clone()
        self.x = content.clone().contiguous(memory_format=mf).requires_grad_(True)

    def gram(self, f):
        b, c, h, w = f.shape
        inv = 1.0 / (b * c * h * w)
        m = f.permute(1, 0, 2, 3).reshape(c, b * h * w)      # a view for NCHW; a strided view for channels_last, b=1
        if self.gram_half:
            return GramHalf.apply(m, inv, 1.0)
        m = m.float() if self.half else m
        return torch.mm(m, m.t()) * inv

    def features(self, x):
        y = ((x - self.mean) / self.std).to(self.dt)
        if self.cl:
            y = y.contiguous(memory_format=torch.channels_last)
        grams, content, i = [], None, 0
        for v in CFG:
            if v == "A":
                y = F.avg_pool2d(y, 2)
                continue
            w, b = self.ws[i]
            y = F.conv2d(y, w, b, padding=1)
            n = NAMES[i]
            if n == "4_2" and self.a.content == "conv4_2":
                content = y
            y = F.relu(y)
            if n == "4_2" and self.a.content == "relu4_2":
                content = y
            if n in STYLE:
                grams.append(self.gram(y))
            i += 1
        return grams, content

    def losses(self, x):
        grams, content = self.features(x)
        s = sum(F.mse_loss(g, t) for g, t in zip(grams, self.tg)) * self.a.style_weight
        d = content.float() - self.tc.float()
        c = (d * d).mean() * self.a.content_weight
        tv = ((x[..., 1:] - x[..., :-1]).abs().sum() + (x[..., 1:, :] - x[..., :-1, :]).abs().sum()) / x.numel() * self.a.tv_weight
        return s, c, tv

    def loss(self, x):
        s, c, tv = self.losses(x)
        return (s + c + tv) * self.lscale


def make_step(t, a):
    """-> (step, warm) where step() runs one full iteration; captured into one CUDA graph when asked."""
    if a.precision == "article":
        opt = torch.optim.Adam([t.x], lr=a.lr)
    else:
        opt = torch.optim.Adam([t.x], lr=a.lr, fused=True, capturable=a.device == "cuda")
    loss_fn = t.loss
    if a.compile != "none":
        loss_fn = torch.compile(t.loss, mode=None if a.compile == "default" else a.compile, dynamic=False)

    def body():
        opt.zero_grad(set_to_none=True)
        l = loss_fn(t.x)
        l.backward()
        if t.lscale != 1.0:
            t.x.grad.mul_(1.0 / t.lscale)
        opt.step()
        with torch.no_grad():
            t.x.clamp_(0, 1)
        return l

    if a.device != "cuda":
        return body
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(a.warmup):
            body()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    if not a.cudagraph:
        return body
    g = torch.cuda.CUDAGraph()
    opt.zero_grad(set_to_none=True)
    with torch.cuda.graph(g):
        out = body()
    t._keep = (g, out, opt)
    return g.replay


def time_steps(step, iters, device):
    """-> (ms of each iteration, their mean): the device's own events, one behind each iteration."""
    if device != "cuda":
        ms = []
        for _ in range(iters + 1):
            t = time.perf_counter()
            step()
            ms.append(1e3 * (time.perf_counter() - t))
        return ms[1:], statistics.mean(ms[1:])
    ev = [torch.cuda.Event(enable_timing=True) for _ in range(iters + 1)]
    for _ in range(10):
        step()
    torch.cuda.synchronize()
    ev[0].record()
    for i in range(iters):
        step()
        ev[i + 1].record()
    torch.cuda.synchronize()
    ms = [ev[i].elapsed_time(ev[i + 1]) for i in range(iters)]
    return ms, ev[0].elapsed_time(ev[iters]) / iters


def flops(size):
    tot, cin, p, gram = 0.0, 3, size * size, 0.0
    i = 0
    for v in CFG:
        if v == "A":
            p //= 4
            continue
        tot += 2 * 18.0 * cin * v * p
        if NAMES[i] in STYLE:
            gram += 2 * 2.0 * v * v * p
        cin, i = v, i + 1
    return tot, gram


def run_one(a):
    gpu = a.device == "cuda"
    if gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    t = Transfer(a.size, a.precision, a)
    step = make_step(t, a)
    ms, mean = time_steps(step, a.iters, a.device)
    med = statistics.median(ms)
    c, g = flops(a.size)
    with torch.no_grad():
        s, cl, tv = t.losses(t.x)
    r = dict(size=a.size, precision=a.precision, channels_last=bool(a.channels_last), compile=a.compile,
             cudagraph=bool(a.cudagraph), gram="half" if t.gram_half else "fp32", iters=a.iters,
             ms_min=min(ms), ms_median=med, ms_max=max(ms), ms_mean=mean, ms=ms, tflops=(c + g) / med / 1e9,
             peak_alloc_mb=torch.cuda.max_memory_allocated() / 1e6 if gpu else 0.0,
             peak_reserved_mb=torch.cuda.max_memory_reserved() / 1e6 if gpu else 0.0,
             style=float(s), content=float(cl), tv=float(tv))
    ok = all(math.isfinite(r[k]) for k in ("style", "content", "tv")) and bool(torch.isfinite(t.x).all())
    r["finite"] = ok
    print(f"{a.size:5d} {a.precision:5} {'NHWC' if a.channels_last else 'NCHW'} compile={a.compile:26} graph={int(a.cudagraph)} "
          f"gram={r['gram']:4} ms/iter min {r['ms_min']:.3f} median {med:.3f} max {r['ms_max']:.3f} mean {mean:.3f} "
          f"| {r['tflops']:.0f} TFLOP/s | peak {r['peak_alloc_mb']:.0f} MB alloc {r['peak_reserved_mb']:.0f} MB reserved"
          f" | style {r['style']:.4g} content {r['content']:.4g} tv {r['tv']:.3g}{'' if ok else '  NOT FINITE'}", flush=True)
    del step, t
    return r


def graph_time(fn, reps):
    """Median time of fn in ms, reps calls captured in one graph so launch gaps on the host do not count."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for i in range(3):
            fn(i)
    torch.cuda.current_stream().wait_stream(side)
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        for i in range(reps):
            fn(i)
    ts = []
    for _ in range(12):
        e0, e1 = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        e0.record(); g.replay(); e1.record()
        torch.cuda.synchronize()
        ts.append(e0.elapsed_time(e1) / reps)
    return statistics.median(ts[2:])


def layers(a):
    set_precision(a.precision)
    dt = DTYPE[a.precision]
    mf = torch.channels_last if a.channels_last else torch.contiguous_format
    cin, s, i, tf, tb, fl, rows = 3, a.size, 0, 0.0, 0.0, 0.0, []
    print(f"# cuDNN per layer, {a.precision}, {'NHWC' if a.channels_last else 'NCHW'}, no bias, buffers rotated over > 200 MB; us and TFLOP/s")
    for v in CFG:
        if v == "A":
            s //= 2
            continue
        n = max(2, min(24, int(2e8 // ((cin + v) * s * s * dt.itemsize)) + 1))
        xs = [torch.randn(1, cin, s, s, device="cuda").relu().to(dt).contiguous(memory_format=mf) for _ in range(n)]  # half zeros
        ys = [torch.randn(1, v, s, s, device="cuda").to(dt).contiguous(memory_format=mf) for _ in range(n)]
        w = (torch.randn(v, cin, 3, 3, device="cuda") * math.sqrt(2 / (9 * cin))).to(dt).contiguous(memory_format=mf)
        f = 18.0 * cin * v * s * s
        t0 = graph_time(lambda k: F.conv2d(xs[k % n], w, None, padding=1), 24)
        t1 = graph_time(lambda k: torch.ops.aten.convolution_backward(
            ys[k % n], xs[k % n], w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, False, False])[0], 24)
        print(f"conv{NAMES[i]} {cin:4}->{v:4} @{s:4}: fprop {t0*1e3:7.1f} us {f/t0/1e9:6.0f} TF/s   dgrad {t1*1e3:7.1f} us {f/t1/1e9:6.0f} TF/s", flush=True)
        rows.append(dict(layer="conv" + NAMES[i], size=s, fprop_us=1e3 * t0, dgrad_us=1e3 * t1, precision=a.precision))
        tf, tb, fl, cin, i = tf + t0, tb + t1, fl + 2 * f, v, i + 1
        del xs, ys, w
    print(f"total fprop {tf:.3f} ms dgrad {tb:.3f} ms sum {tf+tb:.3f} ms, {fl/(tf+tb)/1e9:.0f} TFLOP/s over {fl/1e9:.0f} GFLOP")
    return rows


def ceilings():
    for dt in (torch.bfloat16, torch.float16):
        x = torch.randn(8192, 8192, device="cuda").to(dt); y = torch.randn(8192, 8192, device="cuda").to(dt)
        t = graph_time(lambda k: torch.mm(x, y), 8)
        print(f"GEMM 8192^3 {dt}: {2*8192**3/t/1e9:.0f} TFLOP/s")
    set_precision("tf32")
    x = torch.randn(8192, 8192, device="cuda"); y = torch.randn(8192, 8192, device="cuda")
    t = graph_time(lambda k: torch.mm(x, y), 4)
    print(f"GEMM 8192^3 tf32: {2*8192**3/t/1e9:.0f} TFLOP/s")
    set_precision("fp32")
    t = graph_time(lambda k: torch.mm(x, y), 2)
    print(f"GEMM 8192^3 fp32: {2*8192**3/t/1e9:.1f} TFLOP/s")
    p = torch.empty(1 << 30, device="cuda", dtype=torch.float32).normal_(); q = torch.empty_like(p)
    t = graph_time(lambda k: q.copy_(p), 2)
    print(f"copy 4 GiB: {2*p.numel()*4/t/1e9:.2f} TB/s")
    # Gram shapes
    for c, pix in ((64, 512 * 512), (128, 256 * 256), (256, 128 * 128), (512, 64 * 64), (512, 32 * 32)):
        f = torch.randn(pix, c, device="cuda").half()
        t = graph_time(lambda k: torch.mm(f.t(), f), 16)
        print(f"Gram C={c} P={pix} fp16 (NHWC): {t*1e3:.1f} us, {2.0*c*c*pix/t/1e9:.0f} TFLOP/s, {2.0*c*pix/t/1e9:.2f} TB/s read (L2-hot)")


def parity(a):
    def grad(p):
        t = Transfer(a.size, p, a)
        l = t.loss(t.x)
        l.backward()
        s, c, tv = t.losses(t.x)
        return [float(v.detach()) for v in (s, c, tv)], t.x.grad.detach().double() / t.lscale
    (r, gr), (o, go) = grad("fp32"), grad(a.precision)
    for n, u, v in zip(("style", "content", "tv"), r, o):
        print(f"{n:8} fp32 {u:.8g}  {a.precision} {v:.8g}  rel {abs(v-u)/max(abs(u), 1e-30):.2e}")
    print(f"image gradient: rel l2 {float((go-gr).norm()/gr.norm()):.3e}, max abs {float(gr.abs().max()):.3e}, "
          f"median abs {float(gr.abs().median()):.3e}, finite {bool(torch.isfinite(go).all())}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size", type=int, default=512)
    p.add_argument("--precision", choices=list(DTYPE), default="fp16")
    p.add_argument("--compile", default="none", choices=["none", "default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"])
    p.add_argument("--cudagraph", action="store_true")
    p.add_argument("--iters", type=int, default=200)
    p.add_argument("--warmup", type=int, default=12)
    p.add_argument("--nchw", dest="channels_last", action="store_false")
    p.add_argument("--gram", choices=["half", "fp32"], default="half")
    p.add_argument("--log2-scale", dest="log2_scale", type=int, default=10, help="fp16 loss scale = 2^n")
    p.add_argument("--style-weight", dest="style_weight", type=float, default=1e7)
    p.add_argument("--content-weight", dest="content_weight", type=float, default=1e-3)
    p.add_argument("--tv-weight", dest="tv_weight", type=float, default=5e-3)
    p.add_argument("--content", choices=["relu4_2", "conv4_2"], default="relu4_2")
    p.add_argument("--lr", type=float, default=0.01)
    p.add_argument("--json")
    p.add_argument("--all", action="store_true")
    p.add_argument("--layers", action="store_true")
    p.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: to try the arithmetic, eager modes only")
    p.add_argument("--ceilings", action="store_true")
    p.add_argument("--parity", action="store_true")
    a = p.parse_args()
    if a.precision == "article":
        a.channels_last = False
    if a.device == "cpu":
        if a.all or a.layers or a.ceilings or a.cudagraph:
            sys.exit("--all, --layers, --ceilings and --cudagraph need a CUDA device")
        if a.parity:
            return parity(a)
        run_one(a)
        return
    if not torch.cuda.is_available():
        sys.exit("needs a CUDA device")
    if a.cudagraph and a.compile in ("reduce-overhead", "max-autotune"):
        sys.exit("these compile modes bring their own CUDA graphs: leave --cudagraph out")
    d = torch.cuda.get_device_properties(0)
    print(f"# torch {torch.__version__} cuDNN {torch.backends.cudnn.version()} {d.name} {d.multi_processor_count} SMs", flush=True)
    about = dict(torch=torch.__version__, cudnn=torch.backends.cudnn.version(), device=d.name, cuda=torch.version.cuda)

    def save(what):
        if a.json:
            with open(a.json, "w") as f:
                json.dump(dict(about=about, **what), f, indent=1)

    if a.layers:
        return save(dict(layers=layers(a)))
    if a.ceilings:
        return ceilings()
    if a.parity:
        return parity(a)
    res = []
    if a.all:
        for prec, cl in (("article", False), ("fp16", True), ("bf16", True), ("tf32", True), ("tf32", False), ("fp32", False)):
            for comp, graph in (("none", False), ("none", True), ("max-autotune-no-cudagraphs", True)):
                if prec == "article" and (graph or comp != "none"):
                    continue
                a.precision, a.channels_last, a.compile, a.cudagraph = prec, cl, comp, graph
                try:
                    res.append(run_one(a))
                except Exception as e:          # report and go on: one broken mode must not hide the rest
                    print(f"{prec} {comp} graph={graph}: {type(e).__name__}: {str(e)[:200]}", flush=True)
                    if comp != "none" and a.gram == "half":      # the custom Gram may not compile: try the plain one
                        torch._dynamo.reset()
                        a.gram = "fp32"
                        try:
                            res.append(run_one(a))
                        except Exception as e2:
                            print(f"  again with --gram fp32: {type(e2).__name__}: {str(e2)[:200]}", flush=True)
                        a.gram = "half"
                torch._dynamo.reset()
                save(dict(iterations=res))   # after every mode: a stopped run keeps what it measured
    else:
        res.append(run_one(a))
    save(dict(iterations=res))


if __name__ == "__main__":
    main()
