#!/usr/bin/env bash
# Measures this program and PyTorch on this machine's GPU, side by side. Needs bin/kernelbench and bin/stylize (make build,
# where Go is; copy the tree with bin/), python3 with torch, and no network:
#   tools/baseline/run.sh [DIR]
# DIR (bin/baseline) gets one file a step; commit them as testdata/measurements/DATE-DEVICE/, then make readme-bench.
# ncu.csv, where Nsight Compute is installed, says what limits each kernel. STEPS picks steps by name; STEP_TIMEOUT (400)
# is in seconds. Ours is measured before and behind PyTorch's.
# DRY_RUN=1 tries it without a GPU: on a simulated device, with tiny pictures and a few launches, stand-ins for NVIDIA's programs
# (tools/gpu/dry), and of PyTorch's script the syntax alone. CI does that (make dry-run). What it measures means nothing.
set -uo pipefail
cd "$(dirname "$0")/../.."
dir=${1:-bin/baseline}
mkdir -p "$dir"
steps=${STEPS:-about ours-fp16 ours-tf32 ours-sm80 ours-256 ours-1024 ours-2048 shell ceilings layers-fp16 layers-tf32 parity torch ours-fp16-again ncu}
device=cuda measure=(--device cuda --rounds 15) sizes=(256 1024 2048) shell=() size=() few=()
if [ "${DRY_RUN:-}" = 1 ]; then
  PATH=$PWD/tools/gpu/dry:$PATH
  steps=${STEPS:-about ours-fp16 ours-sm80 ours-24 shell ceilings layers-fp16 parity torch ncu}   # each kind once
  device=sim measure=(--device sim --dry --rounds 1) sizes=(24) shell=(--size 16 --iterations 2 --rounds 1) size=(--size 16) few=(--match 'conv5_1|update')
fi
limit=${STEP_TIMEOUT:-400}
failed=()
[ -x bin/kernelbench ] && [ -x bin/stylize ] || { echo "bin/kernelbench or bin/stylize is missing: make build, on a machine with Go" >&2; exit 2; }
command -v nvidia-smi >/dev/null || { echo "no NVIDIA driver on this machine (nvidia-smi is not there)" >&2; exit 2; }

# step NAME FILE COMMAND...: the command's output goes to FILE, its complaints to NAME.err
step() {
  local name=$1 file=$2 from=$SECONDS status=ok
  shift 2
  case " $steps " in *" $name "*) ;; *) return ;; esac
  timeout --kill-after=10 "$limit" "$@" >"$dir/$file" 2>"$dir/$name.err" || status=FAILED
  [ "$status" = ok ] || { failed+=("$name"); tail -n 5 "$dir/$name.err" | sed 's/^/    /'; }
  [ -s "$dir/$name.err" ] || rm -f "$dir/$name.err"
  printf '%-16s %s in %d s\n' "$name" "$status" $((SECONDS - from))
}
ours() { local name=$1; shift; step "ours-$name" "ours-$name.json" bin/kernelbench "${measure[@]}" --json "$@"; }
torch() {
  local name=$1
  shift
  if [ "$device" = sim ]; then
    step "$name" "$name.log" python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' tools/baseline/torch_gpu.py
  else
    step "$name" "$name.log" python3 -u tools/baseline/torch_gpu.py --json "$dir/$name.json" "$@"
  fi
}

step about about.csv nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit --format=csv
ours fp16 --every "${size[@]}" "${few[@]}"
ours tf32 --precision tf32 "${size[@]}" "${few[@]}"
ours sm80 --kernels sm80 "${size[@]}" "${few[@]}"
for n in "${sizes[@]}"; do ours "$n" --size "$n" --match conv3_2; done
step shell shell.log python3 tools/baseline/shell.py --device $device "${shell[@]}" --json "$dir/shell.json"
torch ceilings --ceilings
torch layers-fp16 --layers --precision fp16
torch layers-tf32 --layers --precision tf32
torch parity --parity --precision fp16
torch torch --all --iters 200
ours fp16-again "${size[@]}" "${few[@]}"
# Every kernel of the targets and of one iteration, by the hardware's counters (each is run several times: not for speed).
if command -v ncu >/dev/null; then
  step ncu ncu.csv ncu --csv --clock-control none --section SpeedOfLight --section MemoryWorkloadAnalysis --section LaunchStats --section Occupancy \
    --section WarpStateStats bin/stylize testdata/content.jpg testdata/style.jpg -o "$dir/ncu.png" -n 1 --device $device "${size[@]}" --no-autotune --weights random --quiet
  rm -f "$dir/ncu.png"
else
  echo "ncu              LEFT OUT: it is not installed"
fi
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]} (files in $dir)" >&2
  exit 1
fi
python3 tools/baseline/table.py "$dir"
