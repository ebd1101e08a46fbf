# shellcheck shell=bash
# Turns the runner's lines into the run's report, and decides what is kept. Sourced by ../run; uses SHARE, LOGS, KEEP.

PASSED=0 FAILED=0 SKIPPED=0

# report_all NAME...: reads the runner's lines; scenarios it never spoke of have failed.
report_all() {
    local line name
    declare -A heard=()
    while read -r line; do
        case $line in
        "ok "* | "not-ok "* | "skipped "*)
            name=$(cut -d' ' -f2 <<< "$line")
            heard[$name]=1
            report "$line"
            ;;
        done) ;;
        *) echo "$line" >> "$LOGS/runner.log" ;;
        esac
    done
    for name in "$@"; do
        if [ -z "${heard[$name]:-}" ]; then
            report "not-ok $name 0 nothing was heard of it: see the logs of the run itself"
        fi
    done
}

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
