#!/bin/sh
# Makes a folder with what cuda-check.sh needs beside this checkout on a machine with a GPU and
# neither Java nor a network: a Java runtime, the library, its tests and benchmarks, and oracles.
#
#   benchmarks/cuda-bundle.sh FOLDER [ORACLES]
#
# ORACLES is the folder that tributary.oracles would name: of it the values for ReferenceValuesTest,
# FamilyReferenceTest and GraphReferenceTest are taken. Needs a JDK 17 and Maven; no GPU.
set -e
root=$(cd "$(dirname "$0")/.." && pwd)
[ -n "$1" ] || { echo "usage: cuda-bundle.sh FOLDER [ORACLES]" >&2; exit 2; }
mkdir -p "$1"
out=$(cd "$1" && pwd)
[ -z "$(ls -A "$out")" ] || [ -d "$out/classes" ] || { echo "$1 is not empty and no bundle" >&2; exit 2; }
oracles=${2:+$(cd "$2" && pwd)}
jdk=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$out/runtime" "$out/lib" "$out/classes" "$out/oracles"
mkdir -p "$out/lib" "$out/classes" "$work/unpacked"

cd "$root"
# JUnit 5.x runs on the platform 1.x.
platform=$(sed -n 's/.*<junit.version>5\(.*\)<.*/1\1/p' pom.xml)
${MVN:-mvn} -q -B -DskipChecks test-compile dependency:build-classpath dependency:copy -Dmdep.outputFile=target/classpath \
  -Dartifact=org.junit.platform:junit-platform-console-standalone:"$platform" -DoutputDirectory="$out/lib"

# Classes alone: what else they read is tracked, and taken from the checkout.
for module in core autodiff transformer attribution benchmarks; do
  for kind in main test; do
    case $kind in main) folder=classes ;; test) folder=test-classes ;; esac
    [ -d "$module/target/$folder" ] || continue
    mkdir -p "$out/classes/$module/$kind"
    cp -R "$module/target/$folder/." "$out/classes/$module/$kind/"
    if [ -d "$module/src/$kind/resources" ]; then
      (cd "$module/src/$kind/resources" && find . -type f) | (cd "$out/classes/$module/$kind" && xargs -d '\n' rm -f)
    fi
    find "$out/classes/$module/$kind" -type d -empty -delete
  done
done

# Libraries, without ND4J and oneDNN's natives, which the device does without, and without JMH's harness.
cat */target/classpath | tr ':' '\n' | grep '\.jar$' | sort -u |
  grep -v -e /org/nd4j/ -e 'dnnl-.*-linux' -e /bytedeco/opencl/ -e /commons-io/ -e /commons-lang3/ -e /commons-math3/ \
    -e /org/junit/ -e /com/tngtech/archunit/ -e /apiguardian/ -e /opentest4j/ -e /org/knowm/ -e /jopt-simple/ |
  while read -r jar; do cp "$jar" "$out/lib/"; done

# Natives that are not called on the way stay here.
repack() {
  rm -rf "$work/unpacked" && mkdir "$work/unpacked"
  (cd "$work/unpacked" && "$jdk/bin/jar" xf "$1")
  shift
  (cd "$work/unpacked" && "$@")
}
for jar in "$out"/lib/*.jar; do
  case $(basename "$jar") in
    cuda-*-linux-*)
      repack "$jar" find . -name '*.so' ! -name libjnicudart.so ! -name libjnicublas.so ! -name libjninvrtc.so -delete
      find "$work/unpacked" -name '*.so' -exec strip --strip-unneeded {} +
      ;;
    openblas-*-linux-*) repack "$jar" rm -rf org/bytedeco/openblas/linux-x86_64/libjniopenblas.so org/bytedeco/openblas/linux-x86_64/include ;;
    tokenizers-*) repack "$jar" rm -rf native ;;
    *) repack "$jar" true ;; # what is packed twice is larger
  esac
  "$jdk/bin/jar" --create --no-compress --no-manifest --file "$jar" -C "$work/unpacked" .
done

"$jdk/bin/jlink" \
  --add-modules java.base,java.logging,java.management,java.xml,jdk.management,jdk.unsupported,jdk.zipfs \
  --strip-debug --no-header-files --no-man-pages --compress=0 --output "$out/runtime"
rm -rf "$out/runtime/legal"
# Where the JDK takes zlib from its system.
zlib=$(ldd "$out/runtime/bin/java" | sed -n 's/.*libz\.so\.1 => \(\/[^ ]*\).*/\1/p')
[ -z "$zlib" ] || [ -e "$out/runtime/lib/libz.so.1" ] || cp -L "$zlib" "$out/runtime/lib/libz.so.1"

if [ -n "$oracles" ]; then
  mkdir -p "$out/oracles"
  for oracle in reference reference-families reference-graphs; do
    cp -R "$oracles/$oracle" "$out/oracles/"
  done
  chmod -R u+w "$out/oracles"
fi

(cd "$out" && du -sm --apparent-size ./*)
echo "tar -C $1 -cJf bundle.tar.xz .    makes one file of it"
