#!/bin/sh
# Builds the stand-ins: build.sh KERNELS.cu FOLDER. What libraries export has a version, as NVIDIA's has, but for the driver's.
set -e
here=$(cd "$(dirname "$0")" && pwd)
kernels=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
cd "$2"

compile() { g++ -std=c++17 -O2 -fPIC -fvisibility=hidden -Wall -Wextra -Werror -Wno-unused-function "-DKERNELS=\"$kernels\"" "$@"; }

library() { # NAME PREFIX OF FUNCTIONS, SOURCES AND LIBRARIES
  name=$1
  echo "$name { global: $2*; local: *; };" > "$name.map"
  shift 2
  compile -O3 -shared "-Wl,-soname,$name,--version-script=$name.map,-rpath,\$ORIGIN" -o "$name" "$@"
}

compile -DREAL=float -c -o float.o "$here/kernels.cpp" & float=$!
compile -DREAL=double -c -o double.o "$here/kernels.cpp"
wait $float
compile -shared -Wl,-soname,libcuda.so.1 -o libcuda.so.1 float.o double.o "$here/device.cpp"
library libcudart.so.13 cuda "$here/runtime.cpp" libcuda.so.1
library libcublasLt.so.13 cublasLt
library libcublas.so.13 cublas "$here/blas.cpp" libcuda.so.1
compile -shared -o libnvrtc-builtins.so.13.0 -x c++ /dev/null
library libnvrtc.so.13 nvrtc "$here/nvrtc.cpp"
