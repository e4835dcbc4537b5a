"""Makes testdata/icc: small colour profiles of every kind that is read, and what littleCMS makes of their colours.

    .venv/bin/python tools/parity/colour.py testdata            # write the profiles and lcms.json
    .venv/bin/python tools/parity/colour.py --compare bin/stylize [PROFILE.icc ...]

The second form saves pictures with each profile as JPEG, PNG, WebP and TIFF, has stylize read them, and compares what it
writes with littleCMS. Profiles of your own may be named.
"""
import io, itertools, json, os, struct, subprocess, sys, tempfile
import numpy as np
from PIL import Image, ImageCms

RELATIVE, NOOPTIMIZE = 1, 0x0100
D50 = (0.9642, 1.0, 0.8249)


def fixed(*v):
    return b"".join(struct.pack(">i", round(x * 65536)) for x in v)


def tag_xyz(*v):
    return b"XYZ \0\0\0\0" + fixed(*v)


def curv(*v):
    return b"curv\0\0\0\0" + struct.pack(">I%dH" % len(v), len(v), *v)


def para(kind, *v):
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + fixed(*v)


def profile(space, pcs, tags, version=0x04300000, kind=b"mntr"):
    names, at, data = b"", 132 + 12 * (len(tags) + 2), b""
    both = dict(tags)
    both["wtpt"] = tag_xyz(*D50)
    both["desc"] = b"mluc\0\0\0\0" + struct.pack(">IIHHII", 1, 12, 0x656E, 0x5553, 8, 28) + "test".encode("utf-16-be")
    for name, body in both.items():
        body += b"\0" * (-len(body) % 4)
        names += name.encode() + struct.pack(">II", at + len(data), len(body))
        data += body
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"\0\0\0\0", version, kind, space, pcs) + bytes(12) + b"acsp" + bytes(28) + fixed(*D50)
    return head + bytes(128 - len(head)) + struct.pack(">I", len(both)) + names + data


def matrix(r, g, b, *curves, **k):
    return profile(b"RGB ", b"XYZ ", dict(rXYZ=tag_xyz(*r), gXYZ=tag_xyz(*g), bXYZ=tag_xyz(*b), rTRC=curves[0], gTRC=curves[-2], bTRC=curves[-1]), **k)


P3 = (0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)
ADOBE = (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)
PROPHOTO = (0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82490)
SRGB_CURVE = para(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def lab_of(v):
    """Some smooth colour for 1, 3 or 4 device values; dark for much ink."""
    if len(v) == 1:
        return 100 * v[0] ** 1.1, 3 * v[0], -5 * v[0]
    if len(v) == 4:
        v = [(1 - x) * (1 - v[3]) for x in v[:3]]
    r, g, b = (x ** 1.2 for x in v)
    return 100 * (0.3 * r + 0.6 * g + 0.1 * b), 80 * (r - g), 70 * (0.5 * r + 0.5 * g - b)


def grid(n, points, encode, pack):
    return b"".join(struct.pack(pack, *encode(lab_of(v))) for v in itertools.product(*[[i / (points - 1) for i in range(points)]] * n))


def mft(n, points, wide):
    if wide:
        encode = lambda lab: [round(min(max(x, 0), 65535)) for x in (lab[0] * 652.8, (lab[1] + 128) * 256, (lab[2] + 128) * 256)]
        ramp = struct.pack(">33H", *[round(65535 * (i / 32) ** 1.1) for i in range(33)])
        out = struct.pack(">2H", 0, 65535) * 3
        return b"mft2\0\0\0\0" + bytes((n, 3, points, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + struct.pack(">HH", 33, 2) + ramp * n + grid(n, points, encode, ">3H") + out
    encode = lambda lab: [round(min(max(x, 0), 255)) for x in (lab[0] * 2.55, lab[1] + 128, lab[2] + 128)]
    return b"mft1\0\0\0\0" + bytes((n, 3, points, 0)) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + bytes(range(256)) * n + grid(n, points, encode, ">3B") + bytes(range(256)) * 3


def mab(n, points, full):
    """With all elements, or with the B curves alone after a matrix and M curves."""
    encode = lambda lab: [round(min(max(x, 0), 1) * 65535) for x in (lab[0] / 100, (lab[1] + 128) / 255, (lab[2] + 128) / 255)]
    pad = lambda b: b + b"\0" * (-len(b) % 4)
    b = pad(curv()) * 3
    m = fixed(0.97, 0.01, 0, 0, 0.98, 0, 0.01, 0, 0.97, 0.01, 0.01, 0.02)
    mc = pad(para(0, 1.0)) * 3
    clut = bytes([points] * n + [0] * (16 - n)) + bytes((2, 0, 0, 0)) + grid(n, points, encode, ">3H")
    a = pad(para(0, 1.3)) * n
    at, parts, offsets = 32, b"", []
    for part in (b, m, mc, clut if full else b"", a if full else b""):
        offsets.append(at + len(parts) if part else 0)
        parts += pad(part)
    return b"mAB \0\0\0\0" + bytes((n, 3, 0, 0)) + struct.pack(">5I", *offsets) + parts


PROFILES = {
    "p3_v4": matrix(*P3, SRGB_CURVE, SRGB_CURVE, SRGB_CURVE),
    "adobe_v2": matrix(*ADOBE, curv(0x0233), curv(0x0233), curv(0x0233), version=0x02100000),
    "prophoto_v2": matrix(*PROPHOTO, curv(0x01CD), curv(0x01CD), curv(0x01CD), version=0x02100000),
    "table_curve": matrix(*P3, curv(*[round(65535 * (i / 63) ** 1.9) for i in range(64)]), curv(*[round(65535 * (i / 63) ** 2.3) for i in range(64)]), curv()),
    "para_1_2_4": matrix(*ADOBE, para(1, 2.1, 0.95, 0.05), para(2, 2.2, 0.9, 0.05, 0.01), para(4, 2.4, 0.94, 0.05, 0.08, 0.04, 0.002, 0.001)),
    "mft1": profile(b"RGB ", b"Lab ", dict(A2B0=mft(3, 9, False)), version=0x02100000),
    "mft2": profile(b"RGB ", b"Lab ", dict(A2B0=mft(3, 7, True), A2B1=mft(3, 9, True)), version=0x02100000),
    "mab": profile(b"RGB ", b"Lab ", dict(A2B0=mab(3, 7, True))),
    "mab_matrix": profile(b"RGB ", b"Lab ", dict(A2B0=mab(3, 0, False))),
    "cmyk_mft2": profile(b"CMYK", b"Lab ", dict(A2B0=mft(4, 5, True)), version=0x02100000, kind=b"prtr"),
    "cmyk_mab": profile(b"CMYK", b"Lab ", dict(A2B0=mab(4, 5, True)), kind=b"prtr"),
    "grey_v2": profile(b"GRAY", b"XYZ ", dict(kTRC=curv(0x01CC)), version=0x02100000),
    "grey_lab": profile(b"GRAY", b"Lab ", dict(kTRC=curv(0x0120))),
    "grey_mft2": profile(b"GRAY", b"Lab ", dict(A2B0=mft(1, 9, True)), version=0x02100000),
}


def lcms(icc, mode, px):
    p = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    t = ImageCms.buildTransform(p, ImageCms.createProfile("sRGB"), mode, "RGB", renderingIntent=RELATIVE, flags=NOOPTIMIZE)
    return ImageCms.applyTransform(px, t)


def mode_of(icc):
    return {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}[icc[16:20]]


def colours(mode):
    """A picture of some 250 colours."""
    r = np.random.default_rng(16)
    n = len(mode) if mode != "L" else 1
    v = r.integers(0, 256, (16, 16, n), dtype=np.uint8)
    v[0, 0], v[0, 1] = 0, 255
    return Image.fromarray(v[..., 0] if n == 1 else v, mode)


def write(out):
    os.makedirs(f"{out}/icc", exist_ok=True)
    table = {}
    for name, icc in PROFILES.items():
        open(f"{out}/icc/{name}.icc", "wb").write(icc)
        px = colours(mode_of(icc))
        table[name] = dict(device=np.asarray(px).reshape(256, -1).tolist(), srgb=np.asarray(lcms(icc, px.mode, px)).reshape(256, 3).tolist())
    with open(f"{out}/icc/lcms.json", "w") as f:
        json.dump(table, f, separators=(",", ":"))
        f.write("\n")


def compare(exe, files):
    given = {os.path.basename(f): open(f, "rb").read() for f in files} or PROFILES
    worst, bad = 0, 0
    with tempfile.TemporaryDirectory() as tmp:
        Image.new("RGB", (64, 64), (120, 90, 60)).save(f"{tmp}/style.png")
        for name, icc in given.items():
            mode = mode_of(icc)
            px = colours(mode).resize((64, 64), Image.Resampling.NEAREST)
            for ext, options in (("png", {}), ("webp", dict(lossless=True)), ("tif", {}), ("jpg", dict(quality=100, subsampling=0))):
                if (mode == "CMYK" and ext in ("png", "webp")) or (mode == "L" and ext == "webp"):
                    continue
                px.save(f"{tmp}/in.{ext}", icc_profile=icc, **options)
                want = np.asarray(lcms(icc, mode, Image.open(f"{tmp}/in.{ext}"))).astype(int)
                q = subprocess.run([exe, f"{tmp}/in.{ext}", f"{tmp}/style.png", "-o", f"{tmp}/out.png", "--size", "64", "-n", "1", "--lr", "1e-9", "--content-weight", "0", "--style-weight", "0", "--weights", "random:1", "-q"], capture_output=True, text=True)
                if q.returncode:
                    print(f"{name}.{ext}: {q.stderr.strip()}")
                    bad += 1
                    continue
                d = np.abs(np.asarray(Image.open(f"{tmp}/out.png").convert("RGB")).astype(int) - want)
                print(f"{name + '.' + ext:24} largest difference {d.max()}, mean {d.mean():.3f}")
                worst, bad = max(worst, d.max()), bad + int(d.max() > 4)
    print(f"largest of all {worst}; {bad} bad")
    return bad > 0


if __name__ == "__main__":
    sys.exit(compare(sys.argv[2], sys.argv[3:]) if sys.argv[1] == "--compare" else write(sys.argv[1]))
