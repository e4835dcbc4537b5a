#!/usr/bin/env python3
"""Races stylize batch with one process after another: batch.py STYLIZE [SIZE [PICTURES [ROUNDS [FLAGS...]]]].

Each round paints as many pictures of SIZE x SIZE, by batch and then by one process each, or the other way round, on the CPU
with random weights. Prints the ratio of the seconds of both, with start-up; and without it: of the rate between the first and
the last iteration, for a batch from the device's own clock, for processes the sum of run_seconds. Both paint the same pixels,
which is checked first. CPU seconds are printed, too, and how much of the machine others took: beside other work, two threads that
paint one picture wait for each other longer than on a quiet machine, which flatters the batch."""
import json, os, pathlib, random, resource, statistics, struct, subprocess, sys, tempfile, time, zlib

stylize = pathlib.Path(sys.argv[1]).resolve()
size, pictures, rounds = (int(v) for v in (sys.argv[2:5] + ["128", "16", "4"][len(sys.argv) - 2:]))
flags = ["--size", str(size), "--weights", "random:1", "--device", "cpu", *(sys.argv[5:] or ["--preset", "draft"])]


def png(path, seed):
    r = random.Random(seed)
    f = [r.uniform(0.02, 0.2) for _ in range(6)]
    rows = b"".join(b"\0" + bytes(int(50 + 80 * ((x * f[c] + y * f[c + 3]) % 2) + r.randrange(30)) for x in range(size) for c in range(3)) for y in range(size))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pixels(path):
    b, at, data = path.read_bytes(), 8, b""
    while at < len(b):
        n = struct.unpack(">I", b[at : at + 4])[0]
        data += b[at + 8 : at + 8 + n] if b[at + 4 : at + 8] == b"IDAT" else b""
        at += n + 12
    return data


def by_batch(tmp, names):
    args = [v for v in flags if v != "--device" and v != "cpu"]
    out = subprocess.run([stylize, "batch", *names, "--style", tmp / "style.png", "-o", str(tmp / "batch" / "{content}.png"), "--devices", "cpu",
                          "--json", "-q", *args], check=True, capture_output=True, text=True).stdout
    d = json.loads(out)["devices"][0]
    return d["seconds"], d["idle_share"]


def one_each(tmp, names):
    ran = 0
    for n in names:
        out = subprocess.run([stylize, n, tmp / "style.png", "-o", tmp / "one" / n.name, "--json", "-q", *flags], check=True, capture_output=True, text=True).stdout
        ran += json.loads(out)["result"]["run_seconds"]
    return ran, 0


def cpu():
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def machine():
    v = [int(x) for x in open("/proc/stat").readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


with tempfile.TemporaryDirectory() as tmp:
    tmp = pathlib.Path(tmp)
    png(tmp / "style.png", -1)
    for d in ("batch", "one"):
        (tmp / d).mkdir()
    whole, bare, busy, idle, others = [], [], [], [], []
    for round in range(rounds):
        names = []
        for i in range(pictures):
            names.append(tmp / f"{round}-{i:03}.png")
            png(names[-1], round * pictures + i)
        took = {}
        for way in [by_batch, one_each][:: 1 if round % 2 == 0 else -1]:
            start, spent, all_spent = time.time(), cpu(), machine()
            ran, idled = way(tmp, names)
            seconds, spent, all_spent = time.time() - start, cpu() - spent, machine() - all_spent
            took[way] = seconds, ran, idled, spent
            others.append(max(all_spent - spent, 0) / seconds / os.cpu_count())
        if round == 0:
            if any(pixels(tmp / "batch" / n.name) != pixels(tmp / "one" / n.name) for n in names):
                sys.exit("the two paint other pictures")
        b, o = took[by_batch], took[one_each]
        whole.append(o[0] / b[0]), bare.append(o[1] / b[1]), idle.append(b[2]), busy.append(o[3] / b[3])
        print(f"round {round + 1}: batch {b[0]:.1f} s, one each {o[0]:.1f} s, {whole[-1]:.2f} times; without start-up {b[1]:.1f} and {o[1]:.1f} s, {bare[-1]:.2f} times; CPU {b[3]:.1f} and {o[3]:.1f} s, {busy[-1]:.2f} times; idle {100 * b[2]:.1f} %, others {100 * others[-2]:.0f} and {100 * others[-1]:.0f} %", flush=True)
    spread = lambda v: f"{statistics.median(v):.2f} ({min(v):.2f} to {max(v):.2f})"
    print(f"{pictures * rounds} pictures at {size}: {spread(whole)} times the rate with start-up, {spread(bare)} without; {spread(busy)} times the CPU seconds; others took {100 * statistics.median(others):.0f} %; idle {100 * statistics.median(idle):.1f} %")
