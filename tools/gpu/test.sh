#!/usr/bin/env bash
# Tests the CUDA device on this machine's GPU. Needs neither Go nor a network:
#   make bin/cuda.test       where Go is; copy the tree with bin/cuda.test, or run it here:
#   tools/gpu/test.sh [DIR]  where the GPU is
# DIR (bin/gpu) gets a log of each step and the recording of the conformance cases, to be
# committed as gpu/sim/conform/testdata/*.json.zst. STEP_TIMEOUT (300) is in seconds;
# STEPS picks steps by name, FIGURES the size of the picture of the parity table (512).
# DRY_RUN=1 tries all of it without a GPU: every step on a simulated device, few cases and small pictures, with stand-ins
# (tools/gpu/dry) for NVIDIA's programs. CI does that (make dry-run). What it prints means nothing.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
mkdir -p "${1:-bin/gpu}"
dir=$(cd "${1:-bin/gpu}" && pwd)
steps=${STEPS:-about kernels hopper transfer bench conformance bits figures memcheck racecheck synccheck initcheck}
limit=${STEP_TIMEOUT:-300}
failed=()
export REQUIRE_GPU=1
export PATH=$PATH:/usr/local/cuda/bin
few=() kernels= hopper= transfer= sanitized='^Test(Kernels|Hopper)GPU$/^(fp16|fp32)$'
often=(-test.benchtime 200x -test.count 3)
figures=(-figures gpu -figures-width "${FIGURES:-512}" -figures-height "${FIGURES:-512}")
if [ "${DRY_RUN:-}" = 1 ]; then
  PATH=$root/tools/gpu/dry:$PATH
  few=(-simulate -test.short)
  kernels='/^fp16$/./tiny' hopper='/^fp16$/on_2$/fprop/edge/relu' transfer='/^fp16$' sanitized='^TestKernelsGPU$/^fp16$/^adam$/tiny'
  often=(-test.benchtime 1x)
  figures=(-figures gpu -figures-width 16 -figures-height 16 -figures-iterations 3)
fi
[ -x bin/cuda.test ] || { echo "bin/cuda.test is missing: make bin/cuda.test, on a machine with Go" >&2; exit 2; }
command -v nvidia-smi >/dev/null || { echo "no NVIDIA driver on this machine (nvidia-smi is not there)" >&2; exit 2; }
cd gpu/cuda # where go test would run it

# step NAME COMMAND...: one line of result on the terminal, everything else in NAME.log
step() {
  local name=$1 from=$SECONDS status=ok
  shift
  case " $steps " in *" $name "*) ;; *) return ;; esac
  timeout --kill-after=10 "$limit" "$@" >"$dir/$name.log" 2>&1
  case $? in
    0) ;;
    124 | 137) status="OUT OF TIME" ;;
    *) status=FAILED ;;
  esac
  [ "$status" = ok ] || failed+=("$name")
  printf '%-12s %s in %d s\n' "$name" "$status" $((SECONDS - from))
  if [ "$status" != ok ]; then failures "$dir/$name.log" | awk '!seen[$0]++ { print "    " $0 }'; fi
}
# failures LOG: what went wrong, then how the log ends, and the test that was under way
failures() {
  grep -E -- '--- FAIL|_test\.go:[0-9]+:|^panic:|^fatal error:|^=+ (Error|ERROR)' "$1" | grep -v 'worst relative L2' | head -n 20
  grep -v '^=== ' "$1" | tail -n 5
  grep '^=== RUN' "$1" | tail -n 1
}
gotest() { local name=$1; shift; step "$name" "$root/bin/cuda.test" -test.v -test.timeout 0 "${few[@]}" "$@"; }
# A sanitizer runs the short case table in fp16 and fp32 (tensor cores and none), and
# every buffer is an allocation of its own, so that memcheck sees its ends.
sanitize() {
  step "$1" compute-sanitizer --tool "$1" --error-exitcode 9 "$root/bin/cuda.test" "${few[@]}" -test.short -separate \
    -test.timeout 0 -test.parallel 1 -test.run "$sanitized" -test.v
}

step about nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit --format=csv
# The most important first, should the machine be wanted elsewhere.
gotest kernels -test.run '^TestKernelsGPU$'"$kernels"
gotest hopper -test.run '^TestHopperGPU$'"$hopper"
gotest transfer -test.run '^TestTransferGPU$'"$transfer"
gotest bench -test.run '^$' -test.bench IterationGPU "${often[@]}"
gotest conformance -test.run '^TestConformanceGPU$' -record "$dir/conformance.json.zst"
gotest bits -test.short -test.run '^TestSameBitsAsSimulator$'
gotest figures -test.run '^TestFigures$' "${figures[@]}"
for tool in memcheck racecheck synccheck initcheck; do sanitize $tool; done

# A pattern that no case has any more would pass.
if [ "${DRY_RUN:-}" = 1 ]; then
  for name in kernels hopper transfer memcheck racecheck synccheck initcheck; do
    [ ! -f "$dir/$name.log" ] || grep -qE -- '--- PASS: .*(/tiny/|/edge/|TransferGPU/)' "$dir/$name.log" || { echo "$name: no case has run" >&2; failed+=("$name"); }
  done
fi

[ -f "$dir/conformance.log" ] && grep -h 'processes$' "$dir/conformance.log"
[ -f "$dir/bench.log" ] && grep -h 'ns/op' "$dir/bench.log"
[ -f "$dir/figures.log" ] && grep -h '|' "$dir/figures.log"
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]} (logs in $dir)" >&2
  exit 1
fi
echo "all passed${DRY_RUN:+, on a simulated device}; logs in $dir"
