#!/bin/bash
# collect_runtime.sh OUT PROGRAM...: what the programs need to run, and no more.
#
#   OUT/bin       the programs, stripped
#   OUT/lib       the libraries that they link and no distribution package has: LibTorch's
#   OUT/packages  the distribution packages that have the others, one a line
#   OUT/components  whatever else is in the programs or in OUT/lib, as package URLs, for the SBOM
set -euo pipefail
out=$1; shift
mkdir -p "$out/bin" "$out/lib"
declare -A packages=()
while read -r library; do
  # Libraries under /lib are packaged so, or as /usr/lib: Debian 12's /lib is a link.
  real=$(readlink -f "$library")
  owner=$(dpkg-query -S "$library" "$real" "${real#/usr}" 2>/dev/null | head -n 1 | cut -d: -f1) || true
  if [ -n "$owner" ]; then
    packages[$owner]=1
  else
    cp -L "$library" "$out/lib/"
  fi
done < <(ldd "$@" | awk '/not found/ { print "missing: " $1 > "/dev/stderr"; exit 1 }
                         $2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u)
printf '%s\n' "${!packages[@]}" | sort >"$out/packages"
for program in "$@"; do
  strip -o "$out/bin/$(basename "$program")" "$program"
done
{
  "$(dirname "$0")/list_components.sh" "$out/lib"
  # Linked into the programs: FAISS, and libraries that are headers only.
  awk 'BEGIN { printf "pkg:generic/faiss@" } /define FAISS_VERSION_/ { printf "%s%s", dot, $3; dot = "." }
       END { print "" }' "$DIME_DEPS/faiss/include/faiss/Index.h"
  dpkg-query -W -f 'pkg:deb/debian/${Package}@${Version}\n' nlohmann-json3-dev libcli11-dev
} >"$out/components"
echo "packages:"; cat "$out/packages"
du -sh "$out"/bin/* "$out"/lib/*
