#!/usr/bin/env bash
# Fuzzes everything that reads hostile bytes, under libFuzzer with AddressSanitizer and
# UndefinedBehaviorSanitizer; the same targets run briefly among the tests (fuzz_test).
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]    SECONDS for each target (default 60); all targets unless named
#
# Installs clang and its runtimes on the first run. Corpora are kept in build/fuzz-corpus/TARGET, so that
# the next run begins where this one ended. What ends a target is written to build/fuzz-findings.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

case "${1:-}" in
  -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
seconds=${1:-60}
shift || true
scripts/setup.sh
packages=(clang-14 libclang-rt-14-dev libomp-14-dev)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  say "installing ${missing[*]}"
  sudo_if_needed=()
  [ "$(id -u)" -eq 0 ] || sudo_if_needed=(sudo)
  "${sudo_if_needed[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null
fi
build_preset fuzz dime_fuzz
fuzz=build/fuzz/bin/dime_fuzz
mkdir -p build/fuzz-findings
targets=("$@")
[ "${#targets[@]}" -gt 0 ] || targets=(access codec file filter item manifest payload search text token)
failed=()
for target in "${targets[@]}"; do
  corpus=build/fuzz-corpus/$target
  mkdir -p "$corpus"
  say "$target for $seconds s"
  # The memory of a child that is allowed, and the time for one input, are bounds to be kept as well.
  if ! "$fuzz" --target="$target" --write-seeds="$corpus" -max_total_time="$seconds" \
    -max_len=16384 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="build/fuzz-findings/$target-" "$corpus" 2>"build/fuzz-$target.log"; then
    failed+=("$target")
    tail -n 30 "build/fuzz-$target.log"
  fi
  grep -E "stat::number_of_executed_units|stat::peak_rss_mb" "build/fuzz-$target.log" || true
done
[ "${#failed[@]}" -eq 0 ] || die "findings in ${failed[*]}: see build/fuzz-findings"
say "nothing found"
