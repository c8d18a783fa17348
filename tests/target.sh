# Sourced by tests/demo, tests/run and .ci/run: chooses what to build for and exports CARGO_BUILD_TARGET.
#
# The helpers are static programs for the musl target of this machine's processor. A toolchain that has not got it
# gets it from rustup. Where that cannot be, the gnu target does as well: just as static, but larger.

target="$(uname -m)-unknown-linux-musl"
has_target() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]
}
if ! has_target "$target"; then
    echo "adding the Rust target $target" >&2
    rustup target add "$target" >&2 || true
fi
if ! has_target "$target"; then
    target="$(uname -m)-unknown-linux-gnu"
    echo "the musl target cannot be had: building for $target; the programs will be larger than 600 KiB" >&2
fi
CARGO_BUILD_TARGET=$target
export CARGO_BUILD_TARGET
