#!/bin/sh
# Checks the CUDA device on a machine with an NVIDIA GPU, and measures it beside PyTorch. Needs what
# cuda-bundle.sh makes, this checkout, and CUDA 13; times of PyTorch need python3 with torch.
#
#   benchmarks/cuda-check.sh BUNDLE [--quick] [STEP...]
#
# STEP: kernels, references, families, graphs, laws (these run beside each other), memory, times-64,
# search, times-1024, times-256; all of them if none is named. One line each. Begins no step after 170
# seconds with --quick, and 450 without. Logs and cuda-check.json go to $OUT, or to the bundle.
# Status: 0 all passed, 1 some did not, 2 wrong use, 3 no GPU that can be used.
root=$(cd "$(dirname "$0")/.." && pwd)
[ -x "$1/runtime/bin/java" ] || {
  echo "usage: cuda-check.sh BUNDLE [--quick] [STEP...], where cuda-bundle.sh made BUNDLE" >&2
  exit 2
}
bundle=$(cd "$1" && pwd)
shift
end=$(($(date +%s) + 450)) longest=120 seconds=1.5
[ "$1" != --quick ] || { shift; end=$(($(date +%s) + 170)) longest=60 seconds=0.5; }
steps=${*:-kernels references families graphs laws memory times-64 search times-1024 times-256}
out=${OUT:-$bundle}
logs=$out/logs
rm -rf "$logs"
mkdir -p "$logs"

classes=
for module in core autodiff transformer attribution benchmarks; do
  for kind in main test; do
    classes=$classes$bundle/classes/$module/$kind:$root/$module/src/$kind/resources:
  done
done
limited() { # COMMAND...: until the time is up
  left=$((end - $(date +%s)))
  [ $left -lt $longest ] || left=$longest
  [ $left -ge 5 ] || return 125
  timeout -k 5 $left "$@"
}
# JavaCPP would take what the driver maps for memory of this process.
java() {
  limited "$bundle/runtime/bin/java" -Xmx8g \
    -Dorg.bytedeco.javacpp.maxPhysicalBytes=0 -Dorg.bytedeco.javacpp.maxBytes=0 \
    -Dtributary.cuda="${CUDA:-/usr/local/cuda/lib64}" -Dtributary.oracles="$bundle/oracles" \
    -cp "$classes$bundle/lib/*" "$@"
}

report() { # STEP STATUS BEGUN TEXT: a line here and one of the file
  result=PASS
  case $2 in
    0) why= ;;
    124 | 137) why="stopped after $(($(date +%s) - $3)) s; " ;;
    125) why="no time left; " ;;
    *) why="status $2; " ;;
  esac
  [ "$2" -eq 0 ] || result=FAIL
  took=$(awk "BEGIN { printf \"%.1f\", $(date +%s.%N) - $3 }")
  printf '%-16s %s %6.1f s  %s\n' "$1" $result "$took" "$why$4"
  printf '{"step": "%s", "result": "%s", "seconds": %s, "said": "%s"}\n' "$1" $result "$took" \
    "$(printf %s "$why$4" | tr '\n\t' '  ' | sed 's/[\\"]/\\&/g')" >> "$logs/steps"
}

tests() { # STEP MODULE OPTIONS...: tests of a module
  step=$1 module=$2 begun=$(date +%s)
  shift 2
  (cd "$root/$module" && java $property org.junit.platform.console.ConsoleLauncher execute \
    --disable-banner --disable-ansi-colors --details=testfeed "$@" \
    --config=jqwik.database="$logs/$step.jqwik" --config=jqwik.reporting.onlyfailures=true) > "$logs/$step.log" 2>&1
  status=$?
  passed=$(grep -a -c ':: SUCCESSFUL' "$logs/$step.log")
  [ $status -ne 0 ] || [ "$passed" -gt 0 ] || status=4
  first=$(grep -a -A1 -e ':: FAILED' -e '^Exception' -e 'symbol lookup' -e '# *SIG' "$logs/$step.log" |
    sed '/^--/d; s/^[[:space:]]*/    /' | cut -c1-300 | head -16)
  report "$step" $status "$begun" "$(grep -a -c ':: FAILED' "$logs/$step.log") failed, $passed passed${first:+
$first}"
}

measure() { # STEP SHAPE FORMAT TOKENS...: ours, theirs, and both beside each other
  step=$1 begun=$(date +%s)
  shift
  java $property dev.tributary.benchmarks.CudaTimes $seconds questions "$@" > "$logs/$step" 2> "$logs/$step.log"
  report "$step" $? "$begun" "$(grep -a -m1 Exception "$logs/$step.log")"
  begun=$(date +%s)
  limited python3 "$root/benchmarks/cuda-peer.py" $seconds "$@" > "$logs/$step.peer" 2> "$logs/$step.peer.log"
  report "$step-torch" $? "$begun" "$(tail -1 "$logs/$step.peer.log")"
  awk -F'\t' '
    /^#/ { next }
    FILENAME ~ /peer$/ { key = $1 FS $3 FS $4 FS $2; theirs[key] = $5; best[key] = $6; kinds[$2]; next }
    {
      line = sprintf("    %-13s %-4s %5d %-17s ours median %8.3f best %8.3f ms", $1, $2, $3, $4, $5, $6)
      for (kind in kinds) {
        key = $1 FS $3 FS $4 FS kind
        if (key in theirs) line = line sprintf(" | PyTorch %s %8.3f best %8.3f, ours / PyTorch %.2f", kind, theirs[key], best[key], $5 / theirs[key])
      }
      print line
    }' "$logs/$step.peer" "$logs/$step" | tee "$logs/$step.table"
}

property=-Dtributary.device=cuda
card=$(java dev.tributary.benchmarks.CudaMemory name 2> "$logs/card.log") || {
  sed -n 's/^.*IllegalArgumentException: //p' "$logs/card.log" | grep . >&2 || cat "$logs/card.log" >&2
  exit 3
}
echo "$card"

ours=dev.tributary
for step in $steps; do
  case $step in
    # compares the two itself
    kernels) property='' tests $step core --select-class=$ours.core.KernelsTest --include-methodname='.*onCuda.*' & ;;
    references) tests $step attribution --select-class=$ours.attribution.ReferenceValuesTest & ;;
    families) tests $step attribution --select-class=$ours.attribution.FamilyReferenceTest & ;;
    graphs) tests $step attribution --select-class=$ours.attribution.GraphReferenceTest & ;;
    laws) tests $step attribution --select-class=$ours.attribution.EdgeLawsTest --select-class=$ours.attribution.EdgeSearchTest & ;;
    memory)
      wait
      begun=$(date +%s)
      said=$(java $property $ours.benchmarks.CudaMemory 2> "$logs/memory.log")
      report $step $? "$begun" "$said$(grep -a -m1 Exception "$logs/memory.log")"
      ;;
    search)
      wait
      begun=$(date +%s)
      java $property $ours.benchmarks.CudaTimes 0 search GPT2_SMALL F32 64 > "$logs/search" 2> "$logs/search.log"
      report $step $? "$begun" "$(grep -v '^#' "$logs/search")$(grep -a -m1 Exception "$logs/search.log")"
      ;;
    times-*)
      wait
      tokens=${step#times-}
      measure $step GPT2_SMALL F32 "$tokens" LLAMA_3_2_1B BF16 "$tokens"
      ;;
    *) echo "there is no step $step" >&2; exit 2 ;;
  esac
done
wait
{
  printf '{"card": "%s", "steps": [\n' "$card"
  sed '$!s/$/,/' "$logs/steps"
  printf ']}\n'
} > "$out/cuda-check.json"
! grep -q '"FAIL"' "$logs/steps"
