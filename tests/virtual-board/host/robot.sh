# shellcheck shell=bash
# Runs the scenarios on a robot over ssh. Sourced by ../run; uses say, fail, TARGET, SHARE.

# on_robot WORD...: what ssh itself has to say goes to the terminal.
on_robot() {
    local command
    read -ra command <<< "${ROVERCAST_SSH:-ssh}"
    # A robot that is gone is noticed within a minute.
    "${command[@]}" -o ConnectTimeout=15 -o ServerAliveInterval=15 "$TARGET" "$@"
}

# Before anything is built for it.
require_robot() {
    local machine
    machine=$(on_robot uname -m < /dev/null) ||
        fail "cannot log in at $TARGET: ssh says why. Is the robot on, the address right, and your key known there? ROVERCAST_SSH may have options"
    [ "$machine" = aarch64 ] || fail "$TARGET is '$machine' when expecting aarch64: the scenarios' programs are built for that alone"
}

# run_over_ssh: the runner's lines. The robot needs a shell, tar with gzip, setsid and, for what they test, a camera and an encoder.
run_over_ssh() {
    local line
    while read -r line; do
        case $line in
        "begin "*) say "${line#begin } runs on the robot" ;;
        artefacts)
            tar -C "$SHARE" -xzf - || say "what the scenarios left did not come back whole"
            break
            ;;
        esac
        echo "$line"
    done < <(tar -C "$SHARE" -czf - . | on_robot "$ROBOTS_PART")
}

# Nothing stays there.
# shellcheck disable=SC2016 # it is for the robot's shell
ROBOTS_PART='
    BOARD=$(mktemp -d) || exit
    trap "rm -rf \"$BOARD\"" EXIT
    trap "exit 1" HUP INT PIPE TERM
    export BOARD
    tar -C "$BOARD" -xzf - || exit
    sh "$BOARD/run-scenarios" robot < /dev/null
    echo artefacts
    tar -C "$BOARD" -czf - artefacts
'
