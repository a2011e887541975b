#!/usr/bin/env bash
# Searches of a living gallery over gRPC, without and with images being written to it as fast as one
# client can: latencies from one run, in turns. Prints load_generator's tables and the rate of writing.
#
#   benchmarks/run_search_under_ingest.sh MODEL DATA [RATE]
#
# DATA: the precomputed layout, with a split "test"; RATE: searches a second of the open loop (default
# 20). The server is build/release/bin/dime_server, its gallery in a temporary directory.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh
case "${1:-}" in
  "" | -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
model=$1 data=$2 rate=${3:-20}
bin=build/release/bin
work=$(mktemp -d)
"$bin/dime_build_gallery" --model "$model" --data "$data" --split test --living --out "$work/gallery" >/dev/null 2>&1
start_server "$model" "$work/gallery" 127.0.0.1:0 "" "$work/server.log" --max-queued-calls 4096
finish() { stop_server; rm -rf "$work"; }
trap finish EXIT

measure() {  # NAME
  say "$1"
  "$bin/load_generator" --address "$server_address" --mode open --rates "$rate" --seconds 8 --warm-up-seconds 1 \
    --runs 3 --deadline-seconds 5
}
# Writes the data's images over and over, anew each time, until it is stopped.
write_images() {
  local pass=0
  while [ ! -e "$work/stop" ]; do
    pass=$((pass + 1))
    "$bin/dime" --address "$server_address" upsert-images --data "$data" --split test --quiet \
      --journal "$work/journal-$pass" >/dev/null
    echo "$pass" >"$work/passes"
  done
}
images() { "$bin/dime" --address "$server_address" stats --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["sequence"])'; }

measure "searches alone"
before=$(images) started=$(date +%s.%N)
write_images &
writer=$!
measure "searches while images are written"
after=$(images)
awk -v n=$((after - before)) -v a="$started" -v b="$(date +%s.%N)" \
  'BEGIN { printf "written meanwhile: %d images, %.0f a second\n", n, n / (b - a) }'
touch "$work/stop"
wait "$writer"
measure "searches alone, again"
