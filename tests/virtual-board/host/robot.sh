# shellcheck shell=bash
# Runs the scenarios on a robot over ssh. Sourced by ../run; uses TARGET, SHARE.

# The robot needs a shell, tar, timeout and, for what they test, a camera and an encoder. Nothing stays there.
# shellcheck disable=SC2016 # the command is for the robot's shell
run_over_ssh() {
    local results=$CACHE/robot.tar
    tar -C "$SHARE" -cf - . | ssh "$TARGET" '
        BOARD=$(mktemp -d) || exit 1
        trap "rm -rf \"$BOARD\"" EXIT
        export BOARD
        tar -C "$BOARD" -xf - || exit 1
        sh "$BOARD/run-scenarios" robot >&2
        tar -C "$BOARD" -cf - artefacts' 2>&1 > "$results" | cat
    if [ -s "$results" ]; then tar -C "$SHARE" -xf "$results"; fi
    rm -f "$results"
}
