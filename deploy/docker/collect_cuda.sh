#!/bin/bash
# collect_cuda.sh OUT: OUT/lib gets LibTorch's CUDA library, what it links, and what those libraries
# load by name at run time (cuDNN's parts, the run-time compiler), all side by side: the image's
# ld.so.conf names that one folder. What the CPU image has of LibTorch is left out. OUT/components names
# the wheels that they came in.
set -euo pipefail
out=$1
root=$(readlink -f "$DIME_DEPS/torch")
mkdir -p "$out/lib"
main=$root/torch/lib/libtorch_cuda.so
if missing=$(ldd "$main" | grep 'not found' | grep -v 'libcuda\.so'); then
  echo "not to be found: $missing" >&2
  exit 1
fi
# The CPU's half, and what it links: in the image already.
in_image=$(ldd "$root/torch/lib/libtorch_cpu.so" | awk '{ print $1 }'; echo libtorch_cpu.so)
{
  echo "$main"
  ldd "$main" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | grep -F "$DIME_DEPS"
  find "$root" \( -name 'libcudnn*.so.*' -o -name 'libnvrtc*.so.*' -o -name 'libnvJitLink.so.*' \
    -o -name 'libcaffe2_nvrtc.so' \) ! -name '*.alt.*'
} | sort -u | while read -r library; do
  grep -qxF "$(basename "$library")" <<<"$in_image" || cp -Ln "$library" "$out/lib/"
done
"$(dirname "$0")/list_components.sh" "$out/lib" >"$out/components"
du -sh "$out/lib"
