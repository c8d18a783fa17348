# Sourced by tests/demo, tests/run and .ci/run: names what to build for, in CARGO_BUILD_TARGET.
#
# The helpers are static programs for the musl target of this machine's processor, and their seccomp profiles are made for just
# that. A toolchain that has not got the target gets it from rustup.

CARGO_BUILD_TARGET="$(uname -m)-unknown-linux-musl"
export CARGO_BUILD_TARGET
if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$CARGO_BUILD_TARGET/lib" ]; then
    echo "adding the Rust target $CARGO_BUILD_TARGET" >&2
    if ! rustup target add "$CARGO_BUILD_TARGET" >&2; then
        echo "the Rust target $CARGO_BUILD_TARGET is needed: rustup target add $CARGO_BUILD_TARGET" >&2
        exit 1
    fi
fi
