# shellcheck shell=bash
# Shares scenarios out to boards that run side by side: they wait more than they work. Sourced by ../run; uses say, needs, deadline_of,
# waits_to_be_named, BOARDS, LOGS, SHARE.

# share_out NAME...: those that take longest first, each to the board that has least to do. Leaves in PLANS the names for each.
share_out() {
    local name deadline board least load=()
    PLANS=()
    if [ $# -lt "$BOARDS" ]; then BOARDS=$#; fi
    for name in "$@"; do
        if waits_to_be_named "$name"; then BOARDS=1; fi
    done
    if [ "$BOARDS" = 1 ]; then
        PLANS=("$*")
        return
    fi
    for ((board = 0; board < BOARDS; board++)); do load+=(0) PLANS+=(''); done
    while read -r deadline name; do
        least=0
        for board in "${!load[@]}"; do
            if [ "${load[board]}" -lt "${load[least]}" ]; then least=$board; fi
        done
        load[least]=$((load[least] + deadline))
        PLANS[least]+=" $name"
    done < <(for name in "$@"; do echo "$(deadline_of "$name") $name"; done | sort -s -n -r -k 1,1)
}

# Each with a share, logs, a network and a USB camera of its own.
start_boards() {
    local number=0 plan
    RUNNING=()
    for plan in "${PLANS[@]}"; do
        number=$((number + 1))
        # shellcheck disable=SC2086 # the names are words
        run_board $number $plan &
        RUNNING+=($!)
    done
}

# run_board NUMBER NAME...: in a process of its own.
run_board() {
    trap 'exit 1' TERM INT
    trap stop_board EXIT
    NUMBER=$1
    shift
    SHARE=$SHARE-$NUMBER
    BOARD_LOGS=$LOGS/board-$NUMBER
    mkdir -p "$BOARD_LOGS"
    rm -f "$SHARE.pid" "$SHARE.counts"
    fill_share "$@"
    if needs network "$@"; then open_network; fi
    if needs uvc "$@"; then start_usb_camera; fi
    run_boots "$@"
    echo "$PASSED $FAILED $SKIPPED" > "$SHARE.counts"
}

await_boards() {
    local number=0 process passed failed skipped
    for process in "${RUNNING[@]}"; do
        number=$((number + 1))
        wait "$process" || fail "board $number was not run to its end: see $LOGS/board-$number"
        read -r passed failed skipped < "$SHARE-$number.counts"
        PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed)) SKIPPED=$((SKIPPED + skipped))
    done
    RUNNING=()
}

# When the run ends, or is interrupted. What a board has started it ends itself.
stop_boards() {
    if [ ${#RUNNING[@]} -gt 0 ]; then
        kill "${RUNNING[@]}" 2> /dev/null || true
        wait "${RUNNING[@]}" 2> /dev/null || true
    fi
}
RUNNING=()
