#!/usr/bin/env bash
# What `scripts/gpu_check.sh --bundle` puts beside the programs as run.sh: the checks and the table of
# rates, with the libraries of the bundle and of the machine's own PyTorch.
set -euo pipefail
cd "$(dirname "$0")"
files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
tar -xJf files.tar.xz -C "$files"
cd "$files"
torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))')
# PyTorch's CUDA libraries come in packages beside it.
cuda=$(find "$(dirname "$torch")/nvidia" -maxdepth 3 -type d -name lib 2>/dev/null | paste -sd : || true)
export LD_LIBRARY_PATH="$torch/lib:$PWD/lib${cuda:+:$cuda}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader || true
failed=0
for model in models/*; do ./dime_gpu_check "$model" || failed=1; done
[ -e /dev/nvidiactl ] || exit "$failed"
for pairs in ${DIME_PAIRS:-256 1024 16384}; do
  ./scorer_benchmark --device cuda --pairs "$pairs" || failed=1
done
./device_recall_benchmark || failed=1
./training_benchmark --device cuda || failed=1
exit "$failed"
