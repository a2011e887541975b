#!/usr/bin/env bash
# Sets everything up on a bare Debian 12 machine, builds and runs all tests.
#
#   scripts/test.sh                 release build, every test
#   scripts/test.sh asan|tsan       the same under a sanitizer (tsan: what links no LibTorch)
#   scripts/test.sh release -R NAME further arguments go to ctest
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

preset=release
case "${1:-}" in
  release | debug | asan | tsan) preset=$1; shift ;;
  -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac

scripts/setup.sh
build_preset "$preset"
say "running the tests"
# LibTorch's libraries are not instrumented and keep memory to the end.
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan_suppressions.txt:print_suppressions=0"
ctest --preset "$preset" -j "$(nproc)" "$@"
