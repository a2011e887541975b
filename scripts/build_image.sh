#!/usr/bin/env bash
# Builds the image of dime_server and tries it out: started once as nobody on a read-only root file
# system, with the sample's model and gallery mounted, it answers a search and stops when told. Its bill
# of materials is written to build/image/TARGET.spdx.json.
#
#   scripts/build_image.sh                    dime:cpu
#   scripts/build_image.sh --target cuda      dime:cuda (its libraries are about 5 GB to fetch)
#   scripts/build_image.sh --ccache DIR       compiles with this compiler cache, ~/.cache/ccache for one
#   scripts/build_image.sh --stage deps       only builds a stage of the Dockerfile, for its cache
#   scripts/build_image.sh --no-try           only builds
#
# By Docker where an engine answers, else by buildah without one (as root; Debian packages buildah and
# mmdebstrap). Where no registry can be reached, mmdebstrap makes the base image from the machine's own
# package sources. The image stays in the engine, or in build/image/storage.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/common.sh

target=cpu stage= ccache= try=1
while [ $# -gt 0 ]; do
  case "$1" in
    --target) target=${2:?--target needs cpu or cuda}; shift 2 ;;
    --stage) stage=${2:?--stage needs a name}; try=0; shift 2 ;;
    --ccache) ccache=$(realpath "${2:?--ccache needs a folder}"); shift 2 ;;
    --no-try) try=0; shift ;;
    -h | --help) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) die "unknown argument $1; see --help" ;;
  esac
done
case "$target" in cpu | cuda) ;; *) die "--target is cpu or cuda, not $target" ;; esac
image=dime:$target
work=build/image
mkdir -p "$work"
commit=$(git describe --always --abbrev=12 --dirty --exclude='*' 2>/dev/null || echo unknown)

# --- by Docker ----------------------------------------------------------------------------------
build_by_docker() {
  [ -z "$ccache" ] || say "--ccache is for buildah; Docker keeps a cache of its own"
  DOCKER_BUILDKIT=1 docker build --build-arg "DIME_COMMIT=$commit" -f deploy/docker/Dockerfile \
    --target "${stage:-$target}" -t "$image" .
}
describe_by_docker() {
  local container root="$work/root"
  say "$(docker image inspect --format '{{.Size}}' "$image") bytes"
  rm -rf "$root"
  mkdir -p "$root/var/lib/dpkg" "$root/opt/dime"
  container=$(docker create "$image")
  docker cp -q "$container:/var/lib/dpkg/status" "$root/var/lib/dpkg/status"
  docker cp -q "$container:/opt/dime/." "$root/opt/dime"
  docker rm "$container" >/dev/null
  write_sbom "$root"
}
try_by_docker() {
  local container
  container=$(docker run --detach --read-only --tmpfs /tmp --cap-drop ALL \
    --security-opt no-new-privileges --volume "$PWD/$work/try/model:/models:ro" \
    --volume "$PWD/$work/try/gallery:/gallery:ro" "$image")
  trap "docker rm --force $container >/dev/null" EXIT
  docker exec "$container" dime --deadline 10s info --wait 2m
  docker exec "$container" dime search-images "$query" --top-k 3
  docker stop --time 40 "$container" >/dev/null
  [ "$(docker inspect --format '{{.State.ExitCode}}' "$container")" = 0 ] ||
    { docker logs "$container" >&2; die "the server did not stop cleanly"; }
}

# --- by buildah ---------------------------------------------------------------------------------
buildah=(buildah --storage-driver vfs --root "$PWD/$work/storage" --runroot "$PWD/$work/run")

# base_image: prints the name of Debian 12's image, made here if it cannot be had.
base_image() {
  local base=localhost/dime-base:bookworm container
  if ! "${buildah[@]}" inspect --type image "$base" >/dev/null 2>&1; then
    if timeout 120 "${buildah[@]}" pull --quiet debian:bookworm-slim >/dev/null 2>&1; then
      echo debian:bookworm-slim
      return
    fi
    say "no registry gives the base image; mmdebstrap makes it" >&2
    # /usr is merged from the start, or else a package with all of Perl would do it.
    mmdebstrap --quiet --variant=minbase --include=ca-certificates,usr-is-merged \
      --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --dpkgopt='path-exclude=/usr/share/doc/*' \
      --dpkgopt='path-include=/usr/share/doc/*/copyright' --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/base.tar" >&2
    container=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add --quiet "$container" "$work/base.tar" / >/dev/null
    "${buildah[@]}" config --cmd bash "$container"
    "${buildah[@]}" commit --quiet --rm "$container" "$base" >/dev/null
    rm "$work/base.tar"
  fi
  echo "$base"
}

build_by_buildah() {
  local base arguments=()
  base=$(base_image)
  # pip inside trusts and asks whom it trusts and asks outside; nothing of it gets into the image.
  if [ -f /etc/pip.conf ]; then
    sed 's,^cert *=.*,cert = /run/build-ca.crt,' /etc/pip.conf >"$work/pip.conf"
    arguments+=(--volume "$PWD/$work/pip.conf:/etc/pip.conf:ro"
                --volume /etc/ssl/certs/ca-certificates.crt:/run/build-ca.crt:ro)
  fi
  if [ -n "$ccache" ]; then
    arguments+=(--volume "$ccache:/run/build-ccache" --build-arg CCACHE_DIR=/run/build-ccache)
  fi
  "${buildah[@]}" build --isolation chroot --format docker --layers --build-arg "BASE=$base" \
    --build-arg "DIME_COMMIT=$commit" "${arguments[@]}" -f deploy/docker/Dockerfile --target "${stage:-$target}" -t "$image${stage:+-$stage}" .
}

describe_by_buildah() {
  local container root
  container=$("${buildah[@]}" from "localhost/$image")
  root=$("${buildah[@]}" mount "$container")
  say "$(du -s --block-size=M "$root" | cut -f 1)B unpacked, of it $(du -s --block-size=M "$root/opt/dime/lib" | cut -f 1)B LibTorch"
  write_sbom "$root"
  "${buildah[@]}" rm "$container" >/dev/null
}

# In a mount namespace of its own, what `docker run --read-only --user` would give.
try_by_buildah() {
  local container root status=0
  container=$("${buildah[@]}" from "localhost/$image") || return
  root=$("${buildah[@]}" mount "$container") || return
  unshare --mount bash -euo pipefail -s "$root" "$PWD/$work/try" "$query" <<'INNER' || status=$?
    root=$1 try=$2 query=$3
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    mount --bind "$try/model" "$root/models" && mount -o remount,bind,ro "$root/models"
    mount --bind "$try/gallery" "$root/gallery" && mount -o remount,bind,ro "$root/gallery"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -o remount,bind,ro "$root"
    run=(chroot --userspec=10001:10001 "$root" env -i PATH=/opt/dime/bin:/usr/bin:/bin)
    if chroot "$root" touch /written 2>/dev/null; then  # by root, whom only the mount stops
      echo "the root file system can be written to" >&2
      exit 1
    fi
    "${run[@]}" dime_server --model /models --gallery /gallery --address 127.0.0.1:0 \
      --metrics-address 127.0.0.1:0 >"$try/server.log" 2>&1 &
    server=$!
    trap 'kill -KILL $server 2>/dev/null || true; cat "$try/server.log"' EXIT
    for _ in $(seq 1200); do
      if grep -q ' ready in ' "$try/server.log" || ! kill -0 $server 2>/dev/null; then break; fi
      sleep 0.1
    done
    address=$(sed -nE 's/.* gRPC on ([^,;]+).*/\1/p' "$try/server.log")
    "${run[@]}" dime --address "$address" --deadline 3s info
    "${run[@]}" dime --address "$address" search-images "$query" --top-k 3
    kill -TERM $server  # the server itself: each program before it became the next
    wait $server
INNER
  "${buildah[@]}" rm "$container" >/dev/null
  return $status
}

# --- both ---------------------------------------------------------------------------------------
write_sbom() {
  scripts/image_sbom.py --root "$1" --name "$image" --out "$work/$target.spdx.json" \
    --version "$(sed -nE 's/^project\(dime VERSION ([0-9.]+).*/\1/p' CMakeLists.txt)"
}
if docker version >/dev/null 2>&1; then engine=docker; else engine=buildah; fi
if [ "$engine" = buildah ]; then
  for program in buildah mmdebstrap; do
    command -v "$program" >/dev/null || die "no Docker engine answers, and $program is missing: apt-get install buildah mmdebstrap"
  done
  [ "$(id -u)" -eq 0 ] || die "without a Docker engine the image is built as root"
fi
started=$SECONDS
say "building $image by $engine"
"build_by_$engine"
say "built in $((SECONDS - started)) s"
[ -z "$stage" ] || exit 0
"describe_by_$engine"
[ "$try" = 1 ] || exit 0

if [ ! -f build/sample/gallery/gallery.json ]; then
  scripts/setup.sh
  build_preset release dime_build_gallery scenes_generate
  prepare_sample build/sample
fi
rm -rf "$work/try"
mkdir -p "$work/try"
cp -rL build/sample/model "$work/try/model"
cp -r build/sample/gallery "$work/try/gallery"
chmod -R a+rX "$work/try"
query="a striped red cross and a blue heart"
say "trying $image: one search, as nobody, on a read-only root file system"
"try_by_$engine" || die "$image does not work"
say "the image works"
