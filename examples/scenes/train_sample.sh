#!/usr/bin/env bash
# Makes the sample model of this folder again: draws the world and trains both directions at once,
# one core each. About an hour on 2 cores; stopped and called again it goes on where it was.
#
#   examples/scenes/train_sample.sh [OUT_DIR]      default: build/sample-training
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/common.sh

out=${1:-build/sample-training}
scripts/setup.sh
build_preset release dime_train scenes_generate
[ -f "$out/world/world.json" ] ||
  build/release/bin/scenes_generate --out "$out/world" --seed 7 --train 10000 --dev 500 --test 1000

train() {  # DIRECTION STEPS
  local resume=()
  [ ! -f "$out/model/training/$1/state.pt" ] || resume=(--resume)
  OMP_NUM_THREADS=1 build/release/bin/dime_train \
    --data "$out/world" --bert "$deps/minilm" --link-bert --out "$out/model" --direction "$1" \
    --embed-size 64 --heads 4 --feed-forward-size 128 --router-size 32 --max-words 24 \
    --batch-size 24 --group-size 2 --positives "$out/world/train_truth.json" \
    --no-bert-dropout --contrastive-steps 800 --global-weight 0.5 \
    --learning-rate 1e-3 --warmup-steps 100 --lr-update 1.44 --max-steps "$2" \
    --val-step 500 --val-images 100 --device cpu --seed 1 "${resume[@]}"
}
train i2t 4000 &
train t2i 3500 &
wait %1
wait %2
