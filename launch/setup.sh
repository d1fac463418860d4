#!/usr/bin/env bash
# Installs what the project needs: Debian or Ubuntu packages, and a virtual environment .venv/ with
# LibTorch, Arrow, CMake and, where there is no CUDA 13 toolkit, a CUDA compiler. Run it as often as you
# like: it repairs what an interrupted run left and returns at once when nothing is missing.
#
#   launch/setup.sh            asks on the terminal before it uses sudo
#   launch/setup.sh --yes      uses sudo without asking
#   launch/setup.sh --dry-run  only prints what a machine with nothing installed yet would get
#   launch/setup.sh --check    only says what this system lacks; 1 where something is missing
#
# Your own LibTorch, also one for CPUs only: CMAKE_PREFIX_PATH=/path/to/libtorch ./launch/setup.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
source "$ROOT/launch/system_check.sh"

PACKAGES=(g++ make ccache libopenmpi-dev openmpi-bin openssh-client libhdf5-dev libyaml-cpp-dev
  libboost-program-options-dev libgtest-dev libgmock-dev libxxhash-dev libjemalloc-dev
  libssl-dev libhnswlib-dev
  nlohmann-json3-dev)
STAMP=$VENV/.setup-complete     # what the environment holds, written last
UNFINISHED=$VENV/.setup-running # present from the first write to the last
YES=0                           # --yes
PYTHON=$(type -Pa python3 | grep -vF "$VENV/" | head -n 1 || true) # never the environment's own

missing_packages() {
  local package installed
  installed=$(dpkg-query -W -f='${db:Status-Abbrev}${Package}\n' "${PACKAGES[@]}" 2>/dev/null || true)
  for package in "${PACKAGES[@]}"; do
    grep -qxF "ii $package" <<<"$installed" || echo "$package"
  done
  # An interpreter that does not come from Debian brings venv along.
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

# may_use_sudo PACKAGES: --yes allows it; otherwise the user is asked, where there is a terminal.
may_use_sudo() {
  local answer
  type -P sudo >/dev/null || return 1
  if ((YES)); then
    [[ -t 0 ]] || sudo -n true 2>/dev/null # without a terminal nobody can type the password
    return
  fi
  [[ -t 0 && -t 2 ]] || return 1
  read -rp "setup: install with sudo: $1? [y/N] " answer
  [[ $answer == [yY]* ]]
}

# apt_get WORDS...: shows its progress on a terminal; only errors elsewhere.
apt_get() {
  if [[ -t 1 ]]; then
    "${ADMIN[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@"
  else
    "${ADMIN[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >/dev/null
  fi
}

install_packages() {
  if ! type -P dpkg-query >/dev/null; then
    say "this is not Debian or Ubuntu: docs/installing.md names the packages, --check says what is missing"
    return
  fi
  local missing
  ADMIN=()
  missing=$(missing_packages | xargs)
  if [[ -z $missing ]]; then return; fi
  if [[ $(id -u) != 0 ]]; then
    may_use_sudo "$missing" || die "packages are missing. Install them:
    sudo apt-get update && sudo apt-get install -y $missing
and run $0 again, or run $0 --yes to let it use sudo"
    ADMIN=(sudo)
  fi
  say "installing packages: $missing"
  apt_get update || say "apt-get update failed; trying with the lists at hand"
  # shellcheck disable=SC2086  # a list of names
  apt_get install -y --no-install-recommends $missing ||
    die "apt-get could not install: $missing. Its messages are above"
}

# Prints the LibTorch that CMAKE_PREFIX_PATH names, or nothing.
own_libtorch() {
  local prefix
  while IFS= read -r prefix; do
    if [[ -f $prefix/share/cmake/Torch/TorchConfig.cmake ]]; then
      echo "$prefix"
      return
    fi
  done < <(tr ':;' '\n' <<<"${CMAKE_PREFIX_PATH:-}")
}

# Prints the nvcc that cmake/FindCudaCompiler.cmake would find, or nothing.
cuda_compiler() {
  local nvcc
  for nvcc in "${CUDACXX:-}" "${CUDA_HOME:-}/bin/nvcc" "$(type -P nvcc)" /usr/local/cuda/bin/nvcc; do
    if [[ -x $nvcc ]]; then
      echo "$nvcc"
      return
    fi
  done
}

has_cuda_13() {
  local nvcc
  nvcc=$(cuda_compiler)
  [[ -n $nvcc && $("$nvcc" --version) == *'release 13.'* ]]
}

# The file of packages: with hashes where launch/lock_wheels.py has recorded them for this machine.
requirements_file() {
  local version
  version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  if [[ $(uname -m) == x86_64 && $version =~ ^3\.1[123]$ ]]; then
    echo "$ROOT/launch/requirements.lock"
  else
    echo "$ROOT/launch/requirements.txt"
  fi
}

# The sections of that file that this machine needs, without comments.
wanted_requirements() {
  local sections=base
  if [[ -z $(own_libtorch) ]]; then
    sections+='|libtorch'
    has_cuda_13 || sections+='|cuda-compiler'
  fi
  awk -v wanted="^($sections)$" '
    match($0, /^#\[[a-z-]+\]/) { active = substr($0, 3, RLENGTH - 3) ~ wanted; next }
    active && /^[^#]/' "$(requirements_file)"
}

# An environment is tied to its place and its interpreter; both are part of the key.
environment_key() {
  printf '%s\n' "$1" "$(readlink -f "$VENV")" "$("$PYTHON" --version)" | sha256sum
}

check_own_libtorch() {
  local torch
  torch=$(own_libtorch)
  if [[ -z $torch ]]; then return; fi
  say "using the LibTorch at $torch"
  [[ ! -e $torch/lib/libtorch_cuda.so ]] || [[ -n $(cuda_compiler) ]] ||
    die "that LibTorch was built for CUDA and needs the CUDA toolkit it was built with, but there is no
nvcc on PATH, in CUDA_HOME or in /usr/local/cuda. Install that toolkit, or take a LibTorch for CPUs"
}

start_environment() {
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "Python 3.11 or newer is needed; $PYTHON is $("$PYTHON" --version)"
  # What an interrupted pip leaves looks installed but is not: start over. Downloads are cached.
  if [[ -e $UNFINISHED ]] || ! "$VENV/bin/python3" -m pip --version &>/dev/null; then rm -rf "$VENV"; fi
  mkdir -p "$VENV"
  touch "$UNFINISHED"
  [[ -x $VENV/bin/pip ]] || "$PYTHON" -m venv "$VENV"
}

# Wheels ship libfoo.so.N only; the linker and CMake look for libfoo.so, and for lib64/.
link_libraries() {
  "$VENV/bin/python3" -c 'import pyarrow; pyarrow.create_library_symlinks()'
  local cuda library
  for cuda in "$VENV"/lib/python3*/site-packages/nvidia/cu13; do
    [[ -x $cuda/bin/nvcc ]] || continue
    for library in "$cuda"/lib/lib*.so.*; do
      ln -sf "$(basename "$library")" "${library%%.so.*}.so"
    done
    ln -sfn lib "$cuda/lib64"
  done
}

# install_wheels REQUIREMENTS: shows pip's progress on a terminal; only errors elsewhere. Compiling
# LibTorch's Python files takes a minute, and this project imports none of them.
install_wheels() {
  local options=(--disable-pip-version-check --no-input --no-compile --only-binary=:all:)
  if [[ ! -t 1 ]]; then options+=(--quiet); fi
  # Every indirect package of the .lock file is listed there with its hash.
  if [[ $1 == *--hash=* ]]; then options+=(--require-hashes --no-deps); fi
  # A requirements file on a descriptor: nothing to clean up.
  "$VENV/bin/python3" -m pip install "${options[@]}" -r /dev/fd/3 3<<<"$1"
}

install_environment() {
  local requirements key
  requirements=$(wanted_requirements)
  key=$(environment_key "$requirements")
  if [[ -x $VENV/bin/cmake && ! -e $UNFINISHED && $(cat "$STAMP" 2>/dev/null) == "$key" ]]; then return; fi
  say "installing into .venv/ (up to 5 GB, one to ten minutes): $(awk '{print $1}' <<<"$requirements" | xargs)"
  start_environment
  rm -f "$STAMP"
  install_wheels "$requirements" ||
    die "pip could not install the packages; its messages are above. Then run $0 again"
  link_libraries
  environment_key "$requirements" >"$STAMP"
  rm -f "$UNFINISHED"
}

main() {
  if [[ ${1:-} == --check ]]; then
    check_system
    return
  fi
  [[ -n $PYTHON ]] || die "python3 is missing. Run: sudo apt-get install -y python3"
  case ${1:-} in
    '') ;;
    --yes) YES=1 ;;
    --dry-run)
      printf '%s\n' "${PACKAGES[@]}" "$(wanted_requirements)"
      return
      ;;
    *) die "unknown option '$1'; the options are --yes, --dry-run and --check" ;;
  esac
  exec 9<"$ROOT/launch/requirements.txt"
  flock 9 # two at a time would install into each other's environment
  install_packages
  check_own_libtorch
  install_environment
  say "ready ($SECONDS s)"
}

main "$@"
