"""One iteration of the preset classic in PyTorch, timed on request: a worker of bench.py.

    torch_iteration.py SIZE [channels_last] [bf16] [compile]

Reads a number of iterations a line, runs them, answers their times in milliseconds as JSON; first line: ready. The
same network, losses, optimiser and clamp as `stylize`; weights frozen, targets computed once. bf16 is autocast around the
network and the losses; the picture and the optimiser stay in fp32.
"""
import json, resource, sys, time
import torch, torch.nn as nn

size, options = int(sys.argv[1]), sys.argv[2:]
torch.manual_seed(0)
layers, c = [], 3
for v in [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512]:
    if v == "M":
        layers.append(nn.AvgPool2d(2, 2))
    else:
        layers += [nn.Conv2d(c, v, 3, padding=1), nn.ReLU(inplace=False)]
        c = v
net = nn.Sequential(*layers).eval()
for m in net:
    if isinstance(m, nn.Conv2d):
        nn.init.kaiming_normal_(m.weight)
        nn.init.zeros_(m.bias)
for p in net.parameters():
    p.requires_grad_(False)
cl = "channels_last" in options
if cl:
    net = net.to(memory_format=torch.channels_last)
mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
STYLE, CONTENT = [1, 6, 11, 20, 29], 22


def features(x):
    x = (x - mean) / std
    if cl:
        x = x.contiguous(memory_format=torch.channels_last)
    style, content = [], None
    for i, m in enumerate(net):
        x = m(x)
        if i in STYLE:
            style.append(x)
        if i == CONTENT:
            content = x
    return style, content


def gram(f):
    b, c, h, w = f.shape
    g = f.permute(0, 2, 3, 1).reshape(h * w, c).t() if cl else f.reshape(c, h * w)
    return g @ g.t() / (b * c * h * w)


def amp():
    return torch.autocast("cpu", torch.bfloat16, enabled="bf16" in options)


content, style = torch.rand(1, 3, size, size), torch.rand(1, 3, size, size)
with torch.no_grad(), amp():
    targets, goal = [gram(f) for f in features(style)[0]], features(content)[1]
x = content.clone().requires_grad_(True)
opt = torch.optim.Adam([x], lr=0.01)


def loss(x):
    s, c = features(x)
    ls = sum(((gram(f) - t) ** 2).mean() for f, t in zip(s, targets))
    lc = ((c - goal) ** 2).mean()
    tv = ((x[..., 1:, :] - x[..., :-1, :]).abs().sum() + (x[..., 1:] - x[..., :-1]).abs().sum()) / x.numel()
    return 1e-3 * lc + 1e7 * ls + 5e-3 * tv


if "compile" in options:
    loss = torch.compile(loss)


def step():
    opt.zero_grad()
    with amp():
        l = loss(x)
    l.backward()
    opt.step()
    with torch.no_grad():
        x.clamp_(0, 1)


for _ in range(2):
    step()
print("ready", flush=True)
for line in sys.stdin:
    times = []
    for _ in range(int(line)):
        t = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - t))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"ms": times, "peak_mb": peak}), flush=True)
