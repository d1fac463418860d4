#!/usr/bin/env bash
# Installs what the tests of optional parts need into .venv-optional/, beside .venv/, whose LibTorch and
# NumPy it uses: about 400 MB. Those tests skip without it. Run it as often as you like; it returns at
# once when nothing is missing.
#
#   tests/optional.sh && tests/run.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../launch/environment.sh"

OPTIONAL=$ROOT/.venv-optional
LOCK=$ROOT/tests/requirements-optional.lock
STAMP=$OPTIONAL/.setup-complete

# section NAME: the lines of that section of the lock file.
section() {
  awk -v wanted="#[$1]" '/^#\[/ { active = $0 == wanted; next } active && /^[^#]/' "$LOCK"
}

key() { { cat "$LOCK" && readlink -f "$OPTIONAL" && "$VENV/bin/python3" --version; } | sha256sum; }

# install SECTION OPTION...
install() {
  local requirements
  requirements=$(section "$1")
  "$OPTIONAL/bin/python3" -m pip install --quiet --disable-pip-version-check --no-input \
    --require-hashes --no-deps "${@:2}" -r /dev/fd/3 3<<<"$requirements"
}

# .venv/'s packages come after its own.
see_venv() {
  local packages
  packages=$("$VENV/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$packages" >"$("$OPTIONAL/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/venv.pth"
}

[[ -x $VENV/bin/python3 ]] || die "there is no .venv/ yet. Run launch/setup.sh first"
exec 9<"$LOCK"
flock 9 # two at a time would install into each other's environment
if [[ $(cat "$STAMP" 2>/dev/null) == "$(key)" ]]; then exit; fi
say "installing into .venv-optional/: $(section wheels | awk '{print $1}' | xargs)"
rm -rf "$OPTIONAL"
"$VENV/bin/python3" -m venv "$OPTIONAL"
see_venv
install wheels --only-binary=:all: || die "pip could not install the wheels; its messages are above"
install source --no-build-isolation --no-binary=:all: ||
  die "pip could not build $(section source | awk '{print $1}'); its messages are above"
key >"$STAMP"
say "ready ($SECONDS s)"
