#!/usr/bin/env bash
# From a bare Debian 12 machine to a served search on the sample world of rendered scenes.
#
#   scripts/quickstart.sh            sets up, builds, runs a text and an image query, stops
#   scripts/quickstart.sh --serve    the same, then leaves the server in the foreground
#
# Every step is skipped when it was done before. Environment: DIME_DEPS, DIME_CUDA (see setup.sh),
# DIME_ADDRESS and DIME_METRICS_ADDRESS (for --serve; default 127.0.0.1:8980 and :8981).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

serve=0
for argument in "$@"; do
  case "$argument" in
    --serve) serve=1 ;;
    -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown argument $argument; see --help" ;;
  esac
done

DIME_CHECK_TOOLS=0 scripts/setup.sh
build_preset release dime_server dime dime_build_gallery scenes_generate scenes_show_hits

sample=build/sample
prepare_sample "$sample"

query="a striped red cross and a blue heart"
say "starting the server"
if [ "$serve" = 1 ]; then
  address=${DIME_ADDRESS:-127.0.0.1:8980}
  metrics_address=${DIME_METRICS_ADDRESS:-127.0.0.1:8981}
else
  address=127.0.0.1:0
  metrics_address=127.0.0.1:0
fi
# A CPU's default is 50; the sample's pairs are small, so that 100 are cheap.
start_server "$sample/model" "$sample/gallery" "$address" "$metrics_address" "$sample/server.log" \
  --default-rerank-depth 100

run_shown() { printf '\n\033[1m$ %s\033[0m\n' "$1"; shift; "$@"; }
run_shown "dime search-images \"$query\" --top-k 5 --view full" \
  build/release/bin/dime --address "$server_address" search-images "$query" --top-k 5 --view full
for side in left right; do
  asked="a blue heart $side of a striped red cross"
  run_shown "dime search-images \"$asked\" --top-k 1" \
    build/release/bin/dime --address "$server_address" search-images "$asked" --top-k 1
done
run_shown "dime search-captions --image-id scene-test-00000 --top-k 5" \
  build/release/bin/dime --address "$server_address" search-captions --image-id scene-test-00000 --top-k 5

hits=$(build/release/bin/dime --address "$server_address" --json search-images "$query" --top-k 5 |
  python3 -c 'import json, sys; print(",".join(hit["id"] for hit in json.load(sys.stdin)["hits"]))')
if build/release/bin/scenes_show_hits --query "$query" --data "$sample/data" --split test \
    --ids "$hits" --out "$sample/hits.png" >/dev/null 2>"$sample/hits.log"; then
  say "a picture of these hits: $sample/hits.png"
fi

if [ "$serve" = 1 ]; then
  say "serving on $server_address (metrics: http://$metrics_address/metrics); Ctrl-C stops it"
  say "in another terminal: build/release/bin/dime search-images \"two yellow stars and a green circle\""
  wait "$server_pid"
else
  stop_server
  say "done; scripts/quickstart.sh --serve leaves the server running"
fi
