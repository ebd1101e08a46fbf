# shellcheck shell=bash
# Builds rovercast and its tests for the board. Sourced by ../run and ../run-debian; uses say, fail, ROOT, CACHE, LOGS.

# Integration tests that scenarios run, as NAME-test.
TESTS="camera encoder board"
PROGRAMS=()

# While something else is fetched or built.
start_building_programs() {
    local name tests=()
    if [ -n "${ROVERCAST_AARCH64:-}" ]; then return; fi
    for name in $TESTS; do
        if [ -e "$ROOT/tests/$name.rs" ]; then tests+=("$name"); fi
    done
    say "building rovercast and its tests for aarch64 (minutes, the first time)"
    "$ROOT/board/cross-build" --for-virtual-board "${tests[@]}" aarch64-unknown-linux-gnu \
        > "$LOGS/programs" 2> "$LOGS/build.log" < /dev/null &
    BUILDING=$!
}

# Leaves in PROGRAMS what was built, but for the unit tests: scenarios do without.
await_programs() {
    if [ -n "${ROVERCAST_AARCH64:-}" ]; then
        [ -x "$ROVERCAST_AARCH64/rovercast" ] || fail "no program rovercast in ROVERCAST_AARCH64: $ROVERCAST_AARCH64"
        PROGRAMS=("$ROVERCAST_AARCH64"/*)
        return
    fi
    wait "$BUILDING" || fail "board/cross-build failed: $(tail -n 30 "$LOGS/build.log")"
    mapfile -t PROGRAMS < <(grep -v '/unit-test$' "$LOGS/programs")
}
