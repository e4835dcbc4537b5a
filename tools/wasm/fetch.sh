#!/bin/sh
# Takes the decoders of AVIF and HEIC, and the encoder of AVIF, out of the modules that carry them, and
# checks that they are the known ones. Run it from the root of the repository.
set -eu
out=transfer/picture/heif
take() { # module, file in it, name here
  dir=$(go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  cp "$dir/lib/$2" "$out/$3"
  chmod 644 "$out/$3"
}
avif=github.com/gen2brain/avif@v0.4.4
heic=github.com/gen2brain/heic@v0.4.5
take $avif decode.wasm.gz avif.wasm.gz
take $avif encode.wasm.gz avifenc.wasm.gz
take $avif LICENSE.libavif LICENSE.libavif
take $avif LICENSE.aom LICENSE.aom
take $heic heif.wasm.gz heic.wasm.gz
take $heic LICENSE.libheif LICENSE.libheif
take $heic LICENSE.libde265 LICENSE.libde265
cd $out
sha256sum -c <<EOF
1ee2423413384d54b3fa4e2882424d60a2a05f5fe7ec573535fdb6b531071a9b  avif.wasm.gz
af09b7698dc6034049cb8cd09378f5fd8f34de6079443bfb0240c208b1f3b670  avifenc.wasm.gz
3634a6447ea3915633667f39e01ff540a60f4e2f837a8391d044d76dfd8a0435  heic.wasm.gz
EOF
