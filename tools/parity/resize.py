"""Makes testdata/resize.json: the SHA-256 of what PIL's BILINEAR makes of a picture of 8 bits at some sizes.

    .venv/bin/python tools/parity/resize.py testdata
"""
import hashlib, json, sys
import numpy as np
from PIL import Image

y, x = np.mgrid[:97, :131]  # resize_test.go has the same formula
im = Image.fromarray(np.dstack([(x * 7 + y * 3) % 256, x * y % 256, (x * x + 5 * y) % 256]).astype(np.uint8))
sizes = [(64, 64), (131, 40), (50, 97), (200, 200), (131, 97), (1, 1), (16, 300), (130, 96)]
hashes = {f"{w} {h}": hashlib.sha256(im.resize((w, h), Image.Resampling.BILINEAR).tobytes()).hexdigest() for w, h in sizes}
with open(f"{sys.argv[1]}/resize.json", "w") as f:
    json.dump(hashes, f, indent=0)
    f.write("\n")
