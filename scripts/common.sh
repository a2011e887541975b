# Steps that the scripts share; sourced, from the repository's root.

say() { printf '\033[1m[dime]\033[0m %s\n' "$*"; }
die() { printf '[dime] error: %s\n' "$*" >&2; exit 1; }

deps="${DIME_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/dime-deps}"

# build_preset PRESET [TARGET...]: configures and builds, showing the compiler's words only on errors.
build_preset() {
  local preset=$1 started=$SECONDS; shift
  mkdir -p build
  local log="build/$preset-build.log" targets=()
  [ $# -eq 0 ] || targets=(--target "$@")
  export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
  say "building preset $preset (the first time: 20 to 30 minutes on 2 cores) ..."
  if ! cmake --preset "$preset" -DDIME_DEPS="$deps" >"$log" 2>&1; then
    tail -n 25 "$log" >&2
    die "configuring failed; the whole log is $log"
  fi
  # Progress: ninja's own [done/total], at most a line every ten seconds where nobody watches.
  if [ -t 1 ]; then
    cmake --build --preset "$preset" "${targets[@]}" || die "the build failed"
  else
    cmake --build --preset "$preset" "${targets[@]}" >>"$log" 2>&1 &
    local build=$!
    while kill -0 "$build" 2>/dev/null; do
      for _ in $(seq 20); do kill -0 "$build" 2>/dev/null && sleep 1; done
      grep -aoE '^\[[0-9]+/[0-9]+\]' "$log" | tail -n 1 || true
    done
    if ! wait "$build"; then
      grep -aE 'error|FAILED|undefined' -A 3 "$log" | head -n 60 >&2 || true
      die "the build failed; the whole log is $log"
    fi
  fi
  say "built in $((SECONDS - started)) s"
}

# prepare_sample DIR: the sample model with its BERT, the held-out scenes, their gallery.
prepare_sample() {
  local sample=$1 bin=build/release/bin
  mkdir -p "$sample/model"
  cp examples/scenes/model/*.json examples/scenes/model/*.safetensors "$sample/model/"
  ln -sfn "$deps/minilm" "$sample/model/bert"
  if [ ! -f "$sample/data/world.json" ]; then
    say "drawing 1,000 held-out scenes"
    rm -rf "$sample/data"
    "$bin/scenes_generate" --out "$sample/data" --seed 7 --train 0 --dev 0 --test 1000 --png-split test
  else
    say "held-out scenes: there"
  fi
  # Rebuilt when the model or the data changed: the manifest names the model it was made with.
  if ! cmp -s "$sample/gallery.inputs" <(sample_inputs "$sample"); then
    say "encoding the gallery"
    "$bin/dime_build_gallery" --model "$sample/model" --data "$sample/data" --split test \
      --out "$sample/gallery" --overwrite
    sample_inputs "$sample" >"$sample/gallery.inputs"
  else
    say "gallery: there"
  fi
}
sample_inputs() {
  cat "$1"/model/*.safetensors "$1/model/config.json" "$1/data/world.json" | sha256sum
}

# start_server MODEL GALLERY ADDRESS METRICS_ADDRESS LOG [FLAG...]: sets server_pid and server_address; the
# server is stopped when the script ends.
start_server() {
  local model=$1 gallery=$2 address=$3 metrics_address=$4 log=$5
  shift 5
  build/release/bin/dime_server --model "$model" --gallery "$gallery" --address "$address" \
    --metrics-address "$metrics_address" "$@" >"$log" 2>&1 &
  server_pid=$!
  trap stop_server EXIT
  local waited
  for waited in $(seq 1200); do
    if grep -q ' ready in ' "$log"; then
      server_address=$(sed -nE 's/.* gRPC on ([^,;]+).*/\1/p' "$log" | head -n 1)
      grep ' ready in ' "$log"
      return
    fi
    kill -0 "$server_pid" 2>/dev/null || { cat "$log" >&2; die "the server did not start"; }
    sleep 0.1
  done
  die "the server was not ready within 2 minutes; its log is $log"
}
stop_server() {
  trap - EXIT
  kill -TERM "$server_pid" 2>/dev/null || true
  wait "$server_pid" 2>/dev/null || true
}
