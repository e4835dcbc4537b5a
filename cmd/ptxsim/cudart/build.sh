#!/bin/sh
# Builds what ptxsim exec puts in the place of NVIDIA's libraries, into a folder:
# libptxsim.so, libcuda.so.1, libcudart.so.12 and .13, and the names to link with. It
# needs Linux, Go and a C compiler, and no header of CUDA's.
#
#     cmd/ptxsim/cudart/build.sh bin/ptxsim-cuda
set -eu
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")"
CC=${CC:-gcc}
GO=${GO:-go}

CGO_ENABLED=1 $GO build -tags cudart -buildmode=c-shared -ldflags '-s -w -extldflags=-Wl,-soname,libptxsim.so' -o "$out/libptxsim.so" .
rm -f "$out/libptxsim.h"

# library NAME SYMBOLS FLAG... SOURCE: a thin library over libptxsim.so beside it. A program
# that was linked to NVIDIA's runtime wants its symbols of the version that is the library's name.
library() {
  name=$1 symbols=$2
  shift 2
  printf '%s { global: cu*; __cuda*; local: *; };\n' "$name" >"$out/$name.map"
  case $name in libcuda.so.*) printf '{ global: cu*; local: *; };\n' >"$out/$name.map" ;; esac
  $CC -std=gnu11 -O1 -Wall -Wextra -Werror -fPIC -fvisibility=hidden -shared -DSYMBOLS="\"$symbols\"" "$@" api/stubs.c \
    -Wl,-soname,"$name" -Wl,--version-script="$out/$name.map" -Wl,-rpath,'$ORIGIN' -L"$out" -lptxsim -ldl -o "$out/$name"
  rm "$out/$name.map"
}
library libcuda.so.1 cuda.symbols.h api/driver.c
library libcudart.so.12 cudart12.symbols.h -DCUDART=12 api/runtime.c
library libcudart.so.13 cudart13.symbols.h -DCUDART=13 api/runtime.c
ln -sf libcuda.so.1 "$out/libcuda.so"
ln -sf libcudart.so.13 "$out/libcudart.so"
