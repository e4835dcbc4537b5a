"""Makes testdata/pictures, testdata/odd and testdata/weights: files of every kind that is read, written by the programs
that people use (Pillow, torch.save), and hostile ones.

    .venv/bin/python tools/parity/files.py testdata [pictures|odd|weights ...]
"""
import hashlib, json, os, pickle, sys, zipfile
from collections import OrderedDict
import numpy as np
from PIL import Image

W, H = 24, 16

# How a picture is stored that the EXIF tag turns upright again.
TURN = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}


def chart():
    """Four flat quarters: red, green / blue, yellow; survives lossy formats and shows every flip and turn."""
    p = np.zeros((H, W, 3), np.uint8)
    p[: H // 2, : W // 2], p[: H // 2, W // 2 :] = (220, 30, 40), (30, 190, 60)
    p[H // 2 :, : W // 2], p[H // 2 :, W // 2 :] = (40, 60, 210), (230, 210, 50)
    return p


def pictures(out):
    rgb = Image.fromarray(chart())
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1)))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    rgb.save(f"{out}/rgb.png")
    rgba.save(f"{out}/rgba.png")
    rgb.convert("L").save(f"{out}/grey.png")
    rgba.convert("LA").save(f"{out}/grey_alpha.png")
    rgb.convert("P", palette=Image.Palette.ADAPTIVE).save(f"{out}/palette.png")
    rgb.convert("1").save(f"{out}/bilevel.png")
    Image.fromarray((np.arange(H * W, dtype=np.uint16).reshape(H, W) * 170)).save(f"{out}/grey16.png")
    rgb.save(f"{out}/rgb.jpg", quality=98, subsampling=0)
    rgb.save(f"{out}/progressive.jpg", quality=98, progressive=True)
    rgb.convert("L").save(f"{out}/grey.jpg", quality=98)
    rgb.convert("CMYK").save(f"{out}/cmyk.jpg", quality=98)
    rgb.save(f"{out}/lossy.webp", quality=98)
    rgba.save(f"{out}/alpha.webp", lossless=True, exact=True)
    rgb.save(f"{out}/rgb.tif")
    rgb.save(f"{out}/lzw.tif", compression="tiff_lzw")
    rgb.save(f"{out}/rgb.bmp")
    rgb.save(f"{out}/one.gif")
    rgb.save(f"{out}/animated.gif", save_all=True, append_images=[rgb.rotate(180)], duration=100)
    for tag, t in TURN.items():  # stored turned, upright again through the tag
        exif = Image.Exif()
        exif[0x0112] = tag
        (rgb.transpose(t) if t is not None else rgb).save(f"{out}/exif_{tag}.jpg", quality=98, subsampling=0, exif=exif)


def odd(out):
    """Odd but legal: what other readers trip over. Files with `fax` in their name are black on the left, white on the right."""
    rgb = Image.fromarray(chart())
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, W).astype(np.uint8), (H, 1)))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    fax = Image.fromarray(np.tile(np.repeat([0, 255], W // 2).astype(np.uint8), (H, 1))).convert("1")
    for c in ("group3", "group4"):
        for photometric, name in ((0, "white_is_zero"), (1, "black_is_zero")):
            fax.save(f"{out}/fax_{c}_{name}.tif", compression=c, tiffinfo={262: photometric})
    for c in ("tiff_lzw", "packbits", "zstd", "tiff_adobe_deflate"):
        rgba.save(f"{out}/alpha_{c}.tif", compression=c)
        rgb.quantize(8).save(f"{out}/palette_{c}.tif", compression=c)
    rgb.convert("CMYK").save(f"{out}/cmyk.tif", compression="tiff_lzw")
    rgb.save(f"{out}/lossy_jpeg.tif", compression="jpeg", quality=98)
    rgb.convert("L").save(f"{out}/lossy_grey_jpeg.tif", compression="jpeg", quality=98)
    frames = [rgb, rgb.rotate(180)]
    rgb.save(f"{out}/animated.webp", save_all=True, append_images=frames[1:], lossless=True, duration=100)
    rgb.save(f"{out}/lossy_animated.webp", save_all=True, append_images=frames[1:], quality=98, duration=100)
    rgba.save(f"{out}/alpha_animated.webp", save_all=True, append_images=[rgba.rotate(180)], lossless=True, exact=True, duration=100)
    rgba.save(f"{out}/alpha_lossy.webp", quality=98, exact=True)
    r = np.random.default_rng(7)
    photo = Image.fromarray(r.integers(0, 256, (7, 9, 4), dtype=np.uint8)).resize((45, 31), Image.Resampling.BICUBIC)
    exact = {}  # libwebp's bits
    for name, im in (("exact.webp", photo.convert("RGB")), ("alpha_exact.webp", photo)):
        im.save(f"{out}/{name}", quality=60)
        exact[name] = hashlib.sha256(Image.open(f"{out}/{name}").tobytes()).hexdigest()
    with open(f"{out}/exact.json", "w") as f:
        json.dump(exact, f, indent=0)
        f.write("\n")
    import pillow_heif

    pillow_heif.register_heif_opener()
    for ext in ("avif", "heic"):
        rgb.save(f"{out}/lossy.{ext}", quality=98)
        rgb.convert("L").save(f"{out}/lossy_grey.{ext}", quality=98)
    for tag, t in list(TURN.items())[1:]:  # the boxes irot and imir say so
        exif = Image.Exif()
        exif[0x0112] = tag
        rgb.transpose(t).save(f"{out}/lossy_turned_{tag}.avif", quality=98, exif=exif)
    rgba.save(f"{out}/alpha_lossy.avif", quality=98)
    rgba.save(f"{out}/named_transparency.heic", quality=98)
    deep = (np.asarray(rgb, dtype=np.uint16) * 257).tobytes()  # ten bits
    for name, chroma in (("lossy_deep", 420), ("lossy_deep_422", 422), ("named_8 bits", 444)):
        pillow_heif.from_bytes(mode="RGB;16", size=rgb.size, data=deep).save(f"{out}/{name}.heic", quality=98, chroma=chroma)
    rgb.save(f"{out}/animated.png", save_all=True, append_images=frames[1:], duration=100)


def weights(out):
    import torch
    from safetensors.torch import save_file

    def tiny():
        g = torch.Generator().manual_seed(3)
        return OrderedDict([("features.0.weight", torch.randn(4, 3, 3, 3, generator=g)),
                            ("features.0.bias", torch.arange(4, dtype=torch.float32) / 8),
                            ("half", torch.arange(6, dtype=torch.float16).reshape(2, 3) / 4),
                            ("double", torch.arange(3, dtype=torch.float64) - 1),
                            ("bf16", torch.tensor([1.5, -2.0], dtype=torch.bfloat16)),
                            ("count", torch.tensor(7))])
    t = tiny()
    t["view"] = t["features.0.weight"][1:2]       # shares its storage
    t["turned"] = t["features.0.weight"].transpose(0, 1)  # not contiguous
    torch.save(t, f"{out}/zip.pth")
    torch.save(t, f"{out}/legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "state_dict": {"module." + k: v for k, v in tiny().items()}}, f"{out}/checkpoint.pth")
    torch.save(torch.nn.Sequential(torch.nn.Linear(2, 2)), f"{out}/whole_model.pth")
    save_file({k: v for k, v in tiny().items()}, f"{out}/tiny.safetensors")

    class Evil:
        def __reduce__(self):
            return (os.system, ("echo this must never run > /tmp/stylize-pwned",))

    with open(f"{out}/hostile_plain.pth", "wb") as f:  # the legacy form: magic, protocol, machine, object, keys
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {"features.0.weight": Evil()}, []):
            pickle.dump(part, f, protocol=2)
    with zipfile.ZipFile(f"{out}/hostile_zip.pth", "w") as z:
        z.writestr("x/data.pkl", pickle.dumps({"features.0.weight": Evil()}, protocol=2))
        z.writestr("x/byteorder", "little")


if __name__ == "__main__":
    for name, make in (("pictures", pictures), ("odd", odd), ("weights", weights)):
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        os.makedirs(f"{sys.argv[1]}/{name}", exist_ok=True)
        make(f"{sys.argv[1]}/{name}")
