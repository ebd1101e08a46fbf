# A stalled encoder works again after exactly the step that its parameter names, and not before.
# needs: vh264enc
# deadline: 120 s
# shellcheck shell=dash

# stalled CURE STEP: the 10th frame is never finished; after STEP the stream goes on with a key frame.
stalled() {
    load_encoder stall_after=10 stall_cure="$1"
    rig encode "$(encoder)" --size 160x120 --frames 30 --deadline 2000 --on-silence "$2" > rig.txt || true
    echo "== cure $1, step $2"
    cat rig.txt
}

recovers() {
    stalled "$1" "$2"
    expect cures -eq 1
    expect idr_after_restart -eq 1
    expect end = last
}

stays_stalled() {
    stalled "$1" "$2"
    expect cures -eq 1
    expect units -eq 9
    expect end = silence
}

recovers 1 restart
recovers 1 free
recovers 1 reopen
stays_stalled 2 restart
recovers 2 free
stays_stalled 3 restart
stays_stalled 3 free
recovers 3 reopen

# A wedged encoder: nothing helps, until the parameter changes.
stays_stalled 4 reopen
rig encode "$(encoder)" --deadline 2000 > rig.txt
expect units -eq 0
quirk stall_cure 1
rig encode "$(encoder)" --frames 10 > rig.txt
expect units -eq 10
