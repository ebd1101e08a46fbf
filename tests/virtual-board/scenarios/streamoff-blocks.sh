# A STREAMOFF that blocks holds up its own file alone: another one opens and encodes meanwhile.
# needs: vh264enc
# shellcheck shell=dash

load_encoder streamoff_ms=5000
node=$(encoder)

start slow rig encode "$node" --frames 4
wait_for 10 grep -q 'end=last' slow.log
quirk streamoff_ms 0
rig encode "$node" --frames 10 > rig.txt
expect units -eq 10
if grep -q 'streamoff_ms=' slow.log; then
    fail "STREAMOFF ended before the other file was done"
fi
finished slow
expect streamoff_ms -ge 5000 slow.log
expect streamoff_ms -lt 1000 rig.txt
