# shellcheck shell=bash
# Turns the runner's lines into the run's report, and decides what is kept. Sourced by ../run; uses say, power_off, BOARD, BOARD_LOGS,
# BOOT_SECONDS, SHARE, LOGS, KEEP, TARGET.

PASSED=0 FAILED=0 SKIPPED=0
declare -A TRIED_AGAIN=()

# report_all NAME...: reads the runner's lines. Leaves in UNHEARD those that it never spoke of, without the one it died in.
report_all() {
    local line name reason running='' again='' patience=$BOOT_SECONDS
    declare -A heard=()
    while read -r -t "$patience" line || when_silent $?; do
        line=${line%$'\r'}
        case $line in
        "begin "*)
            running=${line#begin }
            patience=$(($(deadline_of "$running") + GRACE_SECONDS))
            ;;
        "ok "* | "not-ok "* | "skipped "*)
            name=$(cut -d' ' -f2 <<< "$line")
            heard[$name]=1
            running=''
            report "$line"
            ;;
        "again "*)
            read -r _ name reason <<< "$line"
            running=''
            if [ -n "${TRIED_AGAIN[$name]:-}" ]; then
                heard[$name]=1
                report "not-ok $name 0 $reason, twice"
            else
                TRIED_AGAIN[$name]=1
                say "$name is tried again: $reason"
            fi
            again=1
            ;;
        done) ;;
        *) echo "$line" >> "$BOARD_LOGS/runner.log" ;;
        esac
        line=''
    done
    # A board that ended before a scenario began has the first on its account: or it would be booted for ever.
    if [ ${#heard[@]} = 0 ] && [ -z "$again" ]; then running=${running:-$1}; fi
    UNHEARD=()
    for name in "$@"; do
        if [ -n "${heard[$name]:-}" ]; then continue; fi
        if [ "$name" = "$running" ]; then
            report "not-ok $name 0 $(how_it_ended)"
        else
            UNHEARD+=("$name")
        fi
    done
}

how_it_ended() {
    if [ -n "$TARGET" ]; then
        echo "the connection to the robot ended"
    else
        echo "the board came to its end: see the logs of the run itself"
    fi
}

# when_silent STATUS: what read(1) said. True only once, after a time-out: the board is switched off, and its last words are read.
when_silent() {
    if [ "$1" -le 128 ]; then return 1; fi
    say "the board is silent for too long: switched off"
    power_off
}

deadline_of() {
    local own
    own=$(sed -n 's/^# deadline: \([0-9]*\) s$/\1/p' "$BOARD/scenarios/$1.sh")
    echo "${own:-60}"
}

# After its deadline a scenario is looked at, killed and cleaned up by the board itself.
GRACE_SECONDS=90

# report LINE: one scenario's verdict, after the host has looked at what it left.
report() {
    local verdict name seconds reason
    read -r verdict name seconds reason <<< "$1"
    if [ "$verdict" = ok ]; then
        reason=$(broken_video "$name")
        if [ -n "$reason" ]; then verdict=not-ok; fi
    fi
    case $verdict in
    ok)
        PASSED=$((PASSED + 1))
        printf 'ok  %-20s %5s s\n' "$name" "$seconds"
        ;;
    skipped)
        SKIPPED=$((SKIPPED + 1))
        echo "skipped $name: $seconds $reason"
        ;;
    *)
        FAILED=$((FAILED + 1))
        echo "not ok $name: $reason"
        ;;
    esac
    if [ "$verdict" = not-ok ] || [ -n "$KEEP" ]; then
        mkdir -p "$LOGS"
        if [ -d "$SHARE/artefacts/$name" ]; then cp -r "$SHARE/artefacts/$name" "$LOGS/"; fi
    fi
}

# Every H.264 file that a scenario leaves must decode without a complaint, where there is a decoder.
broken_video() {
    local file message
    if ! command -v ffmpeg > /dev/null; then return; fi
    for file in "$SHARE/artefacts/$1"/*.h264; do
        if [ ! -e "$file" ]; then continue; fi
        if ! message=$(ffmpeg -nostdin -v error -xerror -err_detect explode -i "$file" -f null - 2>&1) ||
            [ -n "$message" ]; then
            echo "$(basename "$file") does not decode: $(head -n 1 <<< "$message")"
            return
        fi
    done
}

# The last line, and the exit status. Without a failure nothing is kept unless asked for.
finish() {
    echo "$PASSED passed, $FAILED failed$(if [ $SKIPPED -gt 0 ]; then echo ", $SKIPPED skipped"; fi)"
    if [ $FAILED -gt 0 ]; then
        echo "logs: $LOGS"
        exit 1
    fi
    if [ -z "$KEEP" ]; then rm -rf "$LOGS"; fi
}
