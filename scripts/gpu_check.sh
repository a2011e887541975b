#!/usr/bin/env bash
# Builds, then holds every CUDA path against the CPU and prints the table of rates. On a machine without
# a GPU it builds and says that the checks were skipped.
#
#   scripts/gpu_check.sh [MODEL_DIR...]      default: the golden tiny model and, if prepared, the sample
#   scripts/gpu_check.sh --bundle DIR        puts what the checks need into DIR, for a machine with a GPU
#                                            and PyTorch where nothing can be installed: DIR/run.sh there
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

bundle=
case "${1:-}" in
  -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
  --bundle) bundle=${2:?--bundle needs a directory}; shift 2 ;;
esac
DIME_CHECK_TOOLS=0 scripts/setup.sh
programs=(dime_gpu_check scorer_benchmark device_recall_benchmark training_benchmark)
build_preset release "${programs[@]}"
if [ $# -gt 0 ]; then
  models=("$@")
else
  models=(tests/golden/tiny/model)
  [ ! -d build/sample/model ] || models+=(build/sample/model)
fi
bin=build/release/bin

if [ -n "$bundle" ]; then
  files=$(mktemp -d)
  trap 'rm -rf "$files"' EXIT
  mkdir -p "$files/lib" "$files/models" "$bundle"
  # Without symbols for profiles.
  for program in "${programs[@]}"; do strip -o "$files/$program" "$bin/$program"; done
  # All that a bare machine lacks: neither LibTorch, which PyTorch has, nor the C library.
  ldd "${programs[@]/#/$bin/}" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/dime-deps/|/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*|libresolv)\.so' |
    xargs -I{} cp -L {} "$files/lib/"
  for model in "${models[@]}"; do
    cp -rL "$model" "$files/models/$(basename "$(dirname "$model")")"
  done
  tar -C "$files" -cJf "$bundle/files.tar.xz" .
  cp scripts/gpu_check_bundled.sh "$bundle/run.sh"
  say "$(du -sh "$bundle" | cut -f 1) in $bundle"
  exit 0
fi

for model in "${models[@]}"; do "$bin/dime_gpu_check" "$model"; done
if [ -e /dev/nvidiactl ] || [ -e /dev/dxg ]; then
  for pairs in 256 1024 16384; do "$bin/scorer_benchmark" --device cuda --pairs "$pairs"; done
  "$bin/device_recall_benchmark"
  "$bin/training_benchmark" --device cuda
fi
