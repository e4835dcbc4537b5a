#!/usr/bin/env python3
"""Writes the lists of what NVIDIA's libraries export, and of their errors.

The files *.symbols.h hold a line for each symbol: what runtime.c and
driver.c do not define becomes a stub. Run it from the root of the repository, after
`make headers ptx`, when the versions there change:

    python3 cmd/ptxsim/cudart/api/symbols.py
"""
import ctypes
import pathlib
import re
import subprocess

here = pathlib.Path(__file__).parent
toolkit = pathlib.Path(".cuda/nvidia/cu13")
runtimes = {12: pathlib.Path(".cuda12/nvidia/cuda_runtime/lib/libcudart.so.12"), 13: toolkit / "lib/libcudart.so.13"}


def write(name, what, lines):
    (here / name).write_text(f"// clang-format off\n// {what}. symbols.py writes this file.\n" + "\n".join(lines) + "\n")


def entries(names):
    """STUB(name), or ALIAS(name, other) for the forms of a thread's own default stream."""
    for n in sorted(names):
        base = re.sub("_(ptsz|ptds)$", "", n)
        yield f"ALIAS({n}, {base})" if base != n and base in names else f"STUB({n})"


for version, lib in runtimes.items():
    out = subprocess.run(["nm", "-D", "--defined-only", lib], check=True, capture_output=True, text=True).stdout
    names = {n.split("@")[0] for n in re.findall(r" T (\S+)", out)}
    write(f"cudart{version}.symbols.h", f"What libcudart.so.{version} exports", entries(names))

text = re.sub(r"/\*.*?\*/", "", (toolkit / "include/cuda.h").read_text(), flags=re.S)
names = set(re.findall(r"CUDAAPI\s+(cu[A-Z]\w*)\s*\(", text))
renamed = dict(re.findall(r"#define\s+(cu[A-Z]\w*)\s+(cu\w+_v\d+)\s", text))
names |= set(re.findall(r"__CUDA_API_PT(?:SZ|DS)\((cu\w+)\)", text))
names |= set(renamed) | set(renamed.values()) | {"cuGetExportTable", "cuGetProcAddress_v2", "cuProfilerStart", "cuProfilerStop"}
lines = [f"STUB({n})" for n in sorted(names) if not re.search("_(ptsz|ptds)$", n)]
for n, api in re.findall(r"#define\s+(cu[A-Z]\w*)\s+__CUDA_API_PTSZ\((\w+)\)", text):
    lines.append(f"ALIAS({api}_ptsz, {renamed.get(api, api)})")
for n, api in re.findall(r"#define\s+(cu[A-Z]\w*)\s+__CUDA_API_PTDS\((\w+)\)", text):
    lines.append(f"ALIAS({api}_ptds, {renamed.get(api, api)})")
lines += [f"RENAMED({n}, {to})" for n, to in sorted(renamed.items())]
write("cuda.symbols.h", "What libcuda.so.1 exports, and which of its symbols a name of the API stands for", dict.fromkeys(lines))

rt = ctypes.CDLL(str(runtimes[13]))
rt.cudaGetErrorName.restype = rt.cudaGetErrorString.restype = ctypes.c_char_p
driver = {int(v): n for n, v in re.findall(r"(CUDA_(?:SUCCESS|ERROR_\w+))\s*=\s*(\d+)", text)}
lines = []
for code in range(1000):
    name, msg = rt.cudaGetErrorName(code).decode(), rt.cudaGetErrorString(code).decode()
    if not name.startswith("unrecognized"):
        d = f'"{driver[code]}"' if code in driver else "0"
        lines.append(f'ERROR({code}, "{name}", {d}, "{msg}")')
write("../errors.h", "The errors of CUDA 13: code, names in runtime and driver, text", lines)
