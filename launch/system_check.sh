# shellcheck shell=bash
# What `launch/setup.sh --check` says of a system: a table, and 1 where something is missing. Sourced by
# setup.sh, whose functions it calls. Changes nothing.

TESTED=('debian 12' 'ubuntu 24.04')
ENVIRONMENT_GIB=6 # .venv/ with LibTorch for CUDA, and room to unpack it
MISSING=0

# row STATE NAME FINDING
row() {
  printf '%-8s %-14s %s\n' "$1" "$2" "$3"
  if [[ $1 == MISSING ]]; then MISSING=1; fi
}

# From OS_RELEASE, a file, so that a test can name another system.
check_distribution() {
  local system
  # shellcheck disable=SC1090  # a file of the system
  system=$(. "${OS_RELEASE:-/etc/os-release}" 2>/dev/null && echo "${ID:-} ${VERSION_ID:-}")
  if printf '%s\n' "${TESTED[@]}" | grep -qxF "$system"; then
    row ok system "$system, $(uname -m)"
  else
    row note system "${system:-unknown}, $(uname -m): not tested; docs/installing.md names what it needs"
  fi
}

# compiles HEADER: whether g++ finds it, wherever it was installed from.
compiles() { g++ -std=c++20 -E -x c++ - <<<"#include <$1>" &>/dev/null; }

# Headers, where there are no Debian packages to ask for.
check_headers() {
  local header missing=()
  compiles hdf5.h || type -P h5cc >/dev/null || missing+=(hdf5.h) # CMake asks h5cc where it is
  for header in yaml-cpp/yaml.h boost/program_options.hpp gtest/gtest.h gmock/gmock.h xxhash.h \
    openssl/evp.h hnswlib/hnswlib.h nlohmann/json.hpp; do
    compiles "$header" || missing+=("$header")
  done
  if ((${#missing[@]})); then
    row MISSING headers "${missing[*]}: docs/installing.md names the packages"
  else
    row ok headers "all found by g++"
  fi
  compiles jemalloc/jemalloc.h || row note jemalloc "not found: a training takes more memory"
}

check_packages() {
  local missing
  if ! type -P dpkg-query >/dev/null; then
    check_headers
    return
  fi
  missing=$(missing_packages | xargs)
  if [[ -z $missing ]]; then
    row ok packages "all ${#PACKAGES[@]} installed"
  else
    row MISSING packages "sudo apt-get install -y $missing"
  fi
}

# GCC 11 is the first that has all of C++20 this project uses.
check_compiler() {
  local version
  version=$(g++ -dumpfullversion 2>/dev/null || true)
  if [[ -z $version ]]; then
    row MISSING compiler "no g++"
  elif ((${version%%.*} < 11)); then
    row MISSING compiler "g++ $version; 11 or newer is needed"
  else
    row ok compiler "g++ $version"
  fi
}

check_mpi() {
  local version
  version=$(mpirun --version 2>/dev/null | head -n 1 || true)
  if [[ -z $version ]]; then row MISSING MPI "no mpirun"; else row ok MPI "$version"; fi
}

check_python() {
  if [[ -z $PYTHON ]]; then
    row MISSING python "no python3"
  elif ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    row MISSING python "$("$PYTHON" --version); 3.11 or newer is needed"
  else
    row ok python "$("$PYTHON" --version)"
  fi
}

# The driver and the compiler that .venv/ would hold are for CUDA 13.
check_cuda() {
  local driver
  driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)
  if [[ -z $driver ]]; then
    row note GPU "no driver answers: everything runs, on the CPU"
  elif ((${driver%%.*} < 580)); then
    row note GPU "driver $driver; CUDA 13 needs 580 or newer: until then the CPU computes"
  else
    row ok GPU "driver $driver"
  fi
}

check_room() {
  local free memory
  free=$(df --output=avail -BG "$ROOT" | tail -n 1 | tr -dc 0-9)
  memory=$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo)
  if [[ -e $STAMP ]] || ((free >= ENVIRONMENT_GIB)); then
    row ok disk "$free GiB free at $ROOT"
  else
    row MISSING disk "$free GiB free at $ROOT; .venv/ needs up to $ENVIRONMENT_GIB"
  fi
  row "$( ((memory >= 3)) && echo ok || echo note)" memory "$memory GiB; compiling takes up to 1.8 GiB per job"
}

check_environment() {
  if [[ -e $STAMP && ! -e $UNFINISHED ]]; then
    row ok .venv "complete"
  else
    row note .venv "not there yet: launch/setup.sh makes it"
  fi
}

check_system() {
  check_distribution
  check_compiler
  check_mpi
  check_python
  check_packages
  check_cuda
  check_room
  check_environment
  return "$MISSING"
}
