#!/usr/bin/env bash
# Measures the service end to end, and the machine's ceilings in the same run: pairs a second of the
# modules and of the kernels, and plain matrix products. Prints Markdown.
#
#   benchmarks/run_end_to_end.sh MODEL GALLERY [OUT_DIR]     OUT_DIR, for JSON: build/end-to-end
#
# MODEL and GALLERY: directories, as dime_server takes them. The programs must have been built
# (cmake --build --preset release). The cache of encoded queries is off, so that every text is a new
# one. About six minutes; SECONDS_OF_A_RUN (default 2) and RUNS (5)
# scale it. Nothing else should run meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

[ $# -ge 2 ] || die "usage: benchmarks/run_end_to_end.sh MODEL GALLERY [OUT_DIR]"
model=$1
gallery=$2
out=${3:-build/end-to-end}
bin=build/release/bin
runs=${RUNS:-5}
seconds=${SECONDS_OF_A_RUN:-2}
mkdir -p "$out"

# shellcheck disable=SC2016  # the ticks are Markdown's
run_shown() { printf '\n`%s`\n\n' "$*"; "$@"; }
load() {  # NAME OPTION...
  local name=$1
  shift
  run_shown "$bin/load_generator" --server "$bin/dime_server" --model "$model" --gallery "$gallery" \
    --server-flags=--query-cache-bytes=0 --runs "$runs" --seconds "$seconds" --json "$out/$name.json" "$@"
}

printf '%s, %s cores of %s\n' "$(date -u +%Y-%m-%d)" "$(nproc)" \
  "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
# The ceilings: the sample's sizes, one caption against 100 images as a search has them.
run_shown "$bin/scorer_benchmark" --embed-size 64 --heads 4 --feed-forward 128 --router 32 --words 24 \
  --pairs 100
load closed --mode closed --warm-up-seconds 0.5
# Past its capacity a server has its own pace only after a deadline's time.
load overload --mode overload --deadline-seconds 0.5 --warm-up-seconds 1.5
