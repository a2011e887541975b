#!/usr/bin/env bash
# Makes the sample model of this folder again: draws the worlds, trains both directions at once, one
# core each, then the coarse heads, and tunes how the two stages go together. On 2
# cores about an hour and a half for the directions and 48 minutes for the heads; stopped and called again it goes on where it was.
#
#   examples/scenes/train_sample.sh [OUT_DIR]      default: build/sample-training
#
# Two courses. The lesson: mirrored twins of two objects, a caption each that says where one is from
# the other. The encoders alone first learn to let words meet regions (--alignment-steps); from that
# the cells learn relations within minutes, and without it they stay at chance (README.md has the
# figures). The world: everything else, from the lesson's weights, with steps within twins throughout.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/common.sh

out=${1:-build/sample-training}
scripts/setup.sh
build_preset release dime_train dime_train_coarse dime_evaluate dime_reference scenes_generate
bin=build/release/bin
[ -f "$out/lesson/world.json" ] ||
  "$bin/scenes_generate" --out "$out/lesson" --seed 201 --train 10000 --dev 400 --test 0 \
    --png-split none --relations --max-objects 2
[ -f "$out/world/world.json" ] ||
  "$bin/scenes_generate" --out "$out/world" --seed 7 --train 20000 --dev 500 --test 2000 --png-split none

train() {  # DIRECTION DATA MODEL OPTION...
  local direction=$1 data=$2 model=$3 resume=()
  shift 3
  [ ! -f "$model/training/$direction/state.pt" ] || resume=(--resume)
  OMP_NUM_THREADS=1 "$bin/dime_train" \
    --data "$data" --bert "$deps/minilm" --link-bert --out "$model" --direction "$direction" \
    --embed-size 64 --heads 4 --feed-forward-size 128 --router-size 32 --max-words 24 \
    --batch-size 24 --group-size 2 --group-steps 1 --group-batch-size 192 \
    --positives "$data/train_truth.json" --no-bert-dropout --state-cache "$out/states" \
    --learning-rate 1e-3 --warmup-steps 50 --device cpu --seed 1 "$@" "${resume[@]}"
}
lesson() {  # DIRECTION OPTION...
  train "$1" "$out/lesson" "$out/lesson-model" --alignment-steps 600 --contrastive-steps 2000 \
    --lr-update 1000 --max-steps 1500 --val-step 1500 --val-images 40 "${@:2}"
}
course() {  # DIRECTION OPTION...
  lesson "$@"
  train "$1" "$out/world" "$out/model" --init "$out/lesson-model" --alignment-steps 400 \
    --alignment-weight 0.2 --contrastive-steps 500 --global-weight 0.3 --lr-update 0.3121 \
    --max-steps 3200 --val-step 3200 --val-images 100 "${@:2}"
}
course i2t --lambda-softmax 14 &
course t2i &
wait %1
wait %2
# Long imitation of the reranker: 1,400 steps over blocks mined for 1,200 queries, 48 minutes on 2 busy
# cores. docs/open-points.md has what fewer came to.
[ -f "$out/coarse-world/world.json" ] ||
  "$bin/scenes_generate" --out "$out/coarse-world" --seed 7 --train 14000 --dev 500 --test 0 --png-split none
"$bin/dime_train_coarse" --model "$out/model" --data "$out/coarse-world" --state-cache "$out/states" \
  --positives "$out/coarse-world/train_truth.json" --device cpu --seed 1 --dim 128 --hidden-size 128 \
  --pooling-queries 6 --steps 2000 --val-step 500 --val-queries 40 --teacher-start 0.3 \
  --teacher-queries 1200 --teacher-candidates 56
# More scenes than the world's 500 for validation: a weight is taken only if its gain stands out.
[ -f "$out/tuning/world.json" ] ||
  "$bin/scenes_generate" --out "$out/tuning" --seed 11 --train 0 --dev 1000 --test 0 --png-split none
"$bin/dime_evaluate" --tune-fusion --model "$out/model" --data "$out/tuning" --split dev
"$bin/dime_reference" --model "$out/model" --write
