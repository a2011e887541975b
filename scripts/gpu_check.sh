#!/usr/bin/env bash
# Builds, then holds every CUDA path against the modules on the CPU and prints the table of rates.
# On a machine without a GPU it builds and says that the checks were skipped.
#
#   scripts/gpu_check.sh [MODEL_DIR]    default: the golden tiny model and, if prepared, the sample
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

DIME_CHECK_TOOLS=0 scripts/setup.sh
build_preset release dime_gpu_check
if [ $# -gt 0 ]; then
  models=("$@")
else
  models=(tests/golden/tiny/model)
  [ ! -d build/sample/model ] || models+=(build/sample/model)
fi
for model in "${models[@]}"; do
  build/release/bin/dime_gpu_check "$model"
done
