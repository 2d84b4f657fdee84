#!/bin/sh
# Checks the CUDA device on a machine with an NVIDIA GPU, and measures it beside PyTorch. Needs what
# cuda-bundle.sh makes, this checkout, and CUDA 13; times of PyTorch need python3 with torch.
#
#   benchmarks/cuda-check.sh BUNDLE [--quick] [STEP...]
#
# One line a step, in the order of importance. STEP: kernels, references, families, graphs, laws,
# memory, times, search. Logs and cuda-check.json go to $OUT, or to the folder of the bundle.
# Status: 0 all passed, 1 some failed, 2 wrong use, 3 no GPU that can be used.
root=$(cd "$(dirname "$0")/.." && pwd)
[ -x "$1/runtime/bin/java" ] || { echo "usage: cuda-check.sh BUNDLE [--quick] [STEP...], where cuda-bundle.sh made BUNDLE" >&2; exit 2; }
bundle=$(cd "$1" && pwd)
shift
quick=
[ "$1" != --quick ] || { quick=1; shift; }
steps=${*:-kernels references families graphs laws memory times search}
out=${OUT:-$bundle}
logs=$out/logs
mkdir -p "$logs"
cuda=${CUDA:-/usr/local/cuda/lib64}
device=-Dtributary.device=cuda
bound() { if [ "$quick" ]; then echo "$1"; else echo "$2"; fi; }

classes=
for module in core autodiff transformer attribution benchmarks; do
  classes=$classes:$bundle/classes/$module/main:$root/$module/src/main/resources
  classes=$classes:$bundle/classes/$module/test:$root/$module/src/test/resources
done
java() {
  limit=$1
  shift
  timeout -k 5 "$limit" "$bundle/runtime/bin/java" -Xmx8g -Djava.io.tmpdir="${TMPDIR:-/tmp}" \
    -Dorg.bytedeco.javacpp.maxPhysicalBytes=0 -Dorg.bytedeco.javacpp.maxBytes=0 \
    -Dtributary.cuda="$cuda" -Dtributary.oracles="$bundle/oracles" \
    -cp "${classes#:}:$bundle/lib/*" "$@"
}

# One line of the table, and of the file.
failed=0
json=
report() { # step status seconds text
  [ "$2" = PASS ] || failed=1
  printf '%-12s %s %6.1f s  %s\n' "$1" "$2" "$3" "$4"
  json="$json${json:+,
}  {\"step\": \"$1\", \"status\": \"$2\", \"seconds\": $3, \"said\": \"$(printf %s "$4" | tr '\n\t' '  ' | sed 's/[\\"]/\\&/g')\"}"
}
now() { date +%s.%N; }
since() { awk "BEGIN { printf \"%.1f\", $(now) - $1 }"; }

# Tests of a module's classes: tests STEP MODULE LIMIT OPTIONS...
tests() {
  step=$1 module=$2 limit=$3
  shift 3
  start=$(now)
  (cd "$root/$module" && java "$limit" $property org.junit.platform.console.ConsoleLauncher execute --disable-banner \
    --disable-ansi-colors --details=testfeed "$@" \
    --config=jqwik.database="$logs/jqwik" --config=jqwik.reporting.onlyfailures=true) > "$logs/$step.log" 2>&1
  status=$?
  seconds=$(since "$start")
  good=$(sed -n 's/^\[ *\([0-9]*\) tests successful.*/\1/p' "$logs/$step.log")
  bad=$(sed -n 's/^\[ *\([0-9]*\) tests failed.*/\1/p' "$logs/$step.log")
  if [ $status -eq 0 ] && [ "${good:-0}" -gt 0 ]; then
    report "$step" PASS "$seconds" "$good tests"
  else
    why="${bad:-?} failed, ${good:-?} passed"
    [ $status -ne 124 ] && [ $status -ne 137 ] || why="stopped after $limit s"
    report "$step" FAIL "$seconds" "$why (status $status)"
    grep -a -e '\[X\]' -e '^ *=> ' -e '^Exception' -e 'symbol lookup' -e 'SIG' "$logs/$step.log" | cut -c1-300 | head -12 | sed 's/^/    /'
  fi
}

# ---- is there a GPU ------------------------------------------------------------------------------
card=$(java 60 $device dev.tributary.benchmarks.CudaMemory name 2> "$logs/card.log") || {
  sed -n 's/^.*IllegalArgumentException: //p' "$logs/card.log" | grep . >&2 || cat "$logs/card.log" >&2
  exit 3
}
echo "$card"

for step in $steps; do
  property=$device
  case $step in
    kernels)
      property=
      tests kernels core "$(bound 60 120)" --select-class=dev.tributary.core.KernelsTest --include-methodname='.*onCuda.*'
      ;;
    references) tests references attribution "$(bound 60 90)" --select-class=dev.tributary.attribution.ReferenceValuesTest ;;
    families) tests families attribution "$(bound 60 120)" --select-class=dev.tributary.attribution.FamilyReferenceTest ;;
    graphs) tests graphs attribution "$(bound 45 90)" --select-class=dev.tributary.attribution.GraphReferenceTest ;;
    laws)
      tests laws attribution "$(bound 45 120)" --select-class=dev.tributary.attribution.EdgeLawsTest \
        --select-class=dev.tributary.attribution.EdgeSearchTest
      ;;
    memory)
      start=$(now)
      said=$(java 60 $device dev.tributary.benchmarks.CudaMemory 2> "$logs/memory.log") && status=PASS || status=FAIL
      report memory $status "$(since "$start")" "$said$(grep -m1 Exception "$logs/memory.log")"
      ;;
    times)
      seconds=$(bound 0.5 1.5)
      for models in "GPT2_SMALL F32 64 LLAMA_3_2_1B BF16 64" "GPT2_SMALL F32 1024 LLAMA_3_2_1B BF16 1024" \
        "GPT2_SMALL F32 256 LLAMA_3_2_1B BF16 256"; do
        name=times.$(echo "$models" | cut -d' ' -f3)
        start=$(now)
        java "$(bound 40 90)" $device dev.tributary.benchmarks.CudaTimes "$seconds" questions $models > "$logs/$name" 2> "$logs/$name.log" && status=PASS || status=FAIL
        report "$name" $status "$(since "$start")" "$(grep -m1 Exception "$logs/$name.log")"
        start=$(now)
        timeout "$(bound 40 90)" python3 "$root/benchmarks/cuda-peer.py" "$seconds" $models > "$logs/$name.peer" 2> "$logs/$name.peer.log" && status=PASS || status=FAIL
        report "$name.torch" $status "$(since "$start")" "$(tail -1 "$logs/$name.peer.log")"
        awk -F'\t' '
          /^#/ { next }
          NR == FNR { peer[$1 FS $3 FS $4] = peer[$1 FS $3 FS $4] sprintf("; PyTorch %s median %.3f best %.3f ratio %.2f", $2, $5, $6, 0); theirs[$1 FS $3 FS $4 FS $2] = $5; kinds[$2]; best[$1 FS $3 FS $4 FS $2] = $6; next }
          {
            line = sprintf("    %-14s %-4s %5d %-17s ours median %8.3f best %8.3f ms", $1, $2, $3, $4, $5, $6)
            for (kind in kinds) { key = $1 FS $3 FS $4 FS kind; if (key in theirs) line = line sprintf(" | PyTorch %s %8.3f best %8.3f, ours / PyTorch %.2f", kind, theirs[key], best[key], $5 / theirs[key]) }
            print line
          }' "$logs/$name.peer" "$logs/$name" | tee -a "$logs/table"
      done
      ;;
    search)
      start=$(now)
      java "$(bound 60 120)" $device dev.tributary.benchmarks.CudaTimes 0 search GPT2_SMALL F32 64 > "$logs/search" 2> "$logs/search.log" && status=PASS || status=FAIL
      report search $status "$(since "$start")" "$(grep -v '^#' "$logs/search")$(grep -m1 Exception "$logs/search.log")"
      ;;
    *) echo "no step $step" >&2; exit 2 ;;
  esac
done
printf '{"card": "%s", "steps": [\n%s\n]}\n' "$card" "$json" > "$out/cuda-check.json"
exit $failed
