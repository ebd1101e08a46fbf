# shellcheck shell=bash
# Shares scenarios out to boards that run side by side: they wait more than they work. Sourced by ../run; uses say, needs, deadline_of,
# BOARD, BOARDS, LOGS, SHARE.

# run_side_by_side NAME...: and what measures, at the end, on a board that has the machine for itself.
run_side_by_side() {
    local name quiet=() others=()
    for name in "$@"; do
        if grep -q '^# wants: quiet$' "$BOARD/scenarios/$name.sh"; then quiet+=("$name"); else others+=("$name"); fi
    done
    if [ ${#others[@]} -gt 0 ]; then
        share_out "${others[@]}"
        start_boards "${PLANS[@]}"
        await_boards
    fi
    if [ ${#quiet[@]} -gt 0 ]; then
        start_boards "${quiet[*]}"
        await_boards
    fi
}

# share_out NAME...: those that may take longest first, each to the board that has least to do. Leaves in PLANS the names for each.
share_out() {
    local name deadline board least boards=$BOARDS load=()
    PLANS=()
    if [ $# -lt "$boards" ]; then boards=$#; fi
    for ((board = 0; board < boards; board++)); do load+=(0) PLANS+=(''); done
    while read -r deadline name; do
        least=0
        for board in "${!load[@]}"; do
            if [ "${load[board]}" -lt "${load[least]}" ]; then least=$board; fi
        done
        load[least]=$((load[least] + deadline))
        PLANS[least]+=" $name"
    done < <(for name in "$@"; do echo "$(deadline_of "$name") $name"; done | sort -s -n -r -k 1,1)
}

# start_boards NAMES...: one for each word. Each has a share, logs, a network and a USB camera of its own.
start_boards() {
    local plan
    for plan in "$@"; do
        # shellcheck disable=SC2086 # the names are words
        run_board $((STARTED + 1)) $plan &
        STARTED=$((STARTED + 1))
        RUNNING[STARTED]=$!
    done
}
STARTED=0 RUNNING=()

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
    # Those of boards before are counted.
    PASSED=0 FAILED=0 SKIPPED=0
    fill_share "$@"
    if needs network "$@"; then open_network; fi
    if needs uvc "$@"; then start_usb_camera; fi
    run_boots "$@"
    echo "$PASSED $FAILED $SKIPPED" > "$SHARE.counts"
}

await_boards() {
    local number passed failed skipped
    for number in "${!RUNNING[@]}"; do
        wait "${RUNNING[number]}" || fail "board $number was not run to its end: see $LOGS/board-$number"
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
