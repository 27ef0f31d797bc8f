# shellcheck shell=bash
# What the packages have in common: which source this is, the program built from it, and what the program writes about itself. Sourced.
#
# The same source gives the same bytes: times are that of the commit (or SOURCE_DATE_EPOCH), and no path of the machine that builds is
# in the program. XENSNAP_REVISION says which revision it is where there is no clone.
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)

git_here() { # git_here COMMAND...: only if the clone is this folder, and not one that this folder happens to lie in
    [ "$(git -C "$root" rev-parse --show-toplevel 2>/dev/null)" = "$root" ] && git -C "$root" "$@" 2>/dev/null
}

if [ -z "${XENSNAP_REVISION+set}" ]; then
    XENSNAP_REVISION=$(git_here describe --always --exclude='*' --abbrev=7 --dirty=+ || true)
fi
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git_here log -1 --format=%ct || stat -c %Y "$root/Cargo.toml")
fi
export XENSNAP_REVISION SOURCE_DATE_EPOCH

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# The program that is packed: the one that was named, or one built here.
build_program() { # build_program; sets $program
    local cargo_home=${CARGO_HOME:-$HOME/.cargo} target=${XENSNAP_TARGET_DIR:-$root/target/package} profile=${XENSNAP_PROFILE:-release}
    local maps="--remap-path-prefix=$root=/xensnap --remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$target=/target"
    export RUSTFLAGS="${RUSTFLAGS:-} $maps"
    # SQLite, zstd and ring are written in C.
    export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$root=/xensnap -ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$target=/target"
    (cd "$root" && cargo build --locked --bin xensnap --profile "$profile" --target-dir "$target") >&2
    [ "$profile" != dev ] || profile=debug
    program=$target/$profile/xensnap
    local path
    for path in "$root" "$cargo_home" "$target"; do
        ! grep --text --quiet --fixed-strings "$path/" "$program" || fail "$program has the path $path in it"
    done
}

# What the program writes about itself: manual pages, and what shells complete by.
describe_itself() { # describe_itself FOLDER
    mkdir -p "$1/man" "$1/completions"
    "$program" man "$1/man" >/dev/null
    "$program" completions bash >"$1/completions/xensnap.bash"
    "$program" completions zsh >"$1/completions/_xensnap"
    "$program" completions fish >"$1/completions/xensnap.fish"
}

# The licences of the libraries that are part of the program; many of them want to be told wherever it goes.
third_party() { # third_party FILE
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    (cd "$root" && cargo metadata --locked --format-version 1 --filter-platform "$host") | perl "$root/packaging/third-party" >"$1"
}
