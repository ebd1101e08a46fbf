# A STREAMOFF that blocks holds up its own file alone; the program leaves it behind, and ends within two seconds when told to.
# needs: vivid vh264enc uvc rovercast tests
# deadline: 240 s
# shellcheck shell=dash

load_encoder allocators=1 streamoff_ms=8000
node=$(encoder)

start slow rig encode "$node" --frames 4
wait_for 10 grep -q 'end=last' slow.log
# Those are its last words before STREAMOFF, which is to find the quirk still there.
sleeps_in_the_kernel() { grep -q '^State:.D' "/proc/$(cat "$1.pid")/status"; }
wait_for 10 sleeps_in_the_kernel slow
quirk streamoff_ms 0
rig encode "$node" --frames 10 > rig.txt
expect units -eq 10
if grep -q 'streamoff_ms=' slow.log; then
    fail "STREAMOFF ended before the other file was done"
fi
finished slow
expect streamoff_ms -ge 5000 slow.log
expect streamoff_ms -lt 1000 rig.txt

export RUST_BACKTRACE=1
tests() {
    echo "== $ROVERCAST_CAMERA, $*"
    board-test --ignored --nocapture --exact "$@"
}

load_vivid allocators=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$node
export ROVERCAST_CAMERA ROVERCAST_ENCODER
parameter=/sys/module/vh264enc/parameters/streamoff_ms
export ROVERCAST_BLOCK="echo 5000 > $parameter" ROVERCAST_RELEASE="echo 0 > $parameter"
tests stop::told_to_end_while_a_driver_blocks
rmmod vivid

# A USB camera that answers nothing any more: STREAMOFF waits for its answers.
plug_usb_camera
wait_for 10 rig find camera
ROVERCAST_CAMERA=$(rig find camera)
export ROVERCAST_BLOCK="usb-camera mute $USB_CAMERA" ROVERCAST_RELEASE="usb-camera unmute $USB_CAMERA"
tests stop::camera_is_mute_for_a_while
tests stop::told_to_end_while_a_driver_blocks
