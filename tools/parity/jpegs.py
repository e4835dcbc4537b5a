"""Makes testdata/jpeg: JPEGs of every sampling, with and without restart markers, progressive and baseline, and the
SHA-256 of the pixels that libjpeg-turbo decodes from each; also that of files that it encodes.

    .venv/bin/python tools/parity/jpegs.py testdata        # needs cjpeg (libjpeg-turbo-progs)
"""
import hashlib, io, json, os, subprocess, sys
import numpy as np
from PIL import Image, ImageFile

ImageFile.LOAD_TRUNCATED_IMAGES = True  # also the file without an end marker
SAMPLINGS = ["1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x4", "3x1", "1x3", "3x2", "2x2,1x2,1x2", "2x2,2x1,1x2", "2x1,1x2,1x1", "1x1,2x2,1x1", "4x1,2x1,1x1"]


def photo(w, h):
    r = np.random.default_rng(w * 1000 + h)
    base = Image.fromarray(r.integers(0, 256, (h // 6 + 2, w // 6 + 2, 3), dtype=np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(base).astype(int) + r.integers(-9, 10, (h, w, 3))).clip(0, 255).astype(np.uint8))


def cjpeg(im, path, *options):
    ppm = b"P6 %d %d 255\n" % im.size + im.tobytes()
    with open(path, "wb") as f:
        subprocess.run(["cjpeg", *options], input=ppm, stdout=f, check=True)


def main(out):
    os.makedirs(f"{out}/jpeg", exist_ok=True)
    im = photo(37, 29)
    for s in SAMPLINGS:
        for progressive in (False, True):
            for restart in (False, True):
                name = s.replace(",", "_") + ("_progressive" if progressive else "") + ("_restart" if restart else "")
                options = ["-quality", "85", "-sample", s] + ["-progressive"] * progressive + ["-restart", "1B"] * restart
                cjpeg(im, f"{out}/jpeg/{name}.jpg", *options)
    for w, h in ((1, 1), (2, 3), (3, 2), (8, 8), (16, 17)):
        cjpeg(photo(w, h), f"{out}/jpeg/size_{w}x{h}.jpg", "-sample", "2x2")
    cjpeg(im, f"{out}/jpeg/grey.jpg", "-grayscale", "-quality", "60")
    cjpeg(im, f"{out}/jpeg/grey_progressive.jpg", "-grayscale", "-progressive")
    cjpeg(im, f"{out}/jpeg/rgb.jpg", "-rgb")
    cjpeg(im, f"{out}/jpeg/quality_100.jpg", "-quality", "100")
    cjpeg(im, f"{out}/jpeg/quality_3.jpg", "-quality", "3")
    with open(f"{out}/scans", "w") as f:
        f.write("0;\n1;\n2;\n")
    cjpeg(im, f"{out}/jpeg/three_scans.jpg", "-scans", f"{out}/scans", "-sample", "2x2")
    os.remove(f"{out}/scans")
    im.convert("CMYK").save(f"{out}/jpeg/cmyk.jpg", quality=90)
    b = open(f"{out}/jpeg/cmyk.jpg", "rb").read()
    at = b.index(b"\xff\xee")
    open(f"{out}/jpeg/cmyk_no_adobe.jpg", "wb").write(b[:at] + b[at + 2 + int.from_bytes(b[at + 2 : at + 4], "big") :])
    open(f"{out}/jpeg/ycck.jpg", "wb").write(b[: at + 15] + b"\x02" + b[at + 16 :])  # the same numbers, with another meaning
    b = open(f"{out}/jpeg/2x2.jpg", "rb").read()
    open(f"{out}/jpeg/no_eoi.jpg", "wb").write(b[:-2])
    open(f"{out}/jpeg/junk.jpg", "wb").write(b[:-2] + b"\0\1\2" + b[-2:] + b"more")
    hashes = {}
    for name in sorted(os.listdir(f"{out}/jpeg")):
        if name.endswith(".jpg"):
            px = np.asarray(Image.open(f"{out}/jpeg/{name}"))
            hashes[name] = hashlib.sha256(px.tobytes()).hexdigest()
    with open(f"{out}/jpeg/libjpeg.json", "w") as f:
        json.dump(hashes, f, indent=0)
        f.write("\n")
    y, x = np.mgrid[:29, :37]  # jpeg_test.go has the same formula
    im = Image.fromarray(np.dstack([(x * 7 + y * 3) % 256, x * y % 256, (x * x + 5 * y) % 256]).astype(np.uint8))
    hashes = {}
    for quality in (1, 30, 75, 90, 95, 100):
        for i, s in enumerate(("444", "422", "420")):
            b = io.BytesIO()
            im.save(b, "jpeg", quality=quality, subsampling=i, optimize=True)
            hashes[f"{quality} {s}"] = hashlib.sha256(b.getvalue()).hexdigest()
    with open(f"{out}/jpeg/encoded.json", "w") as f:
        json.dump(hashes, f, indent=0)
        f.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
