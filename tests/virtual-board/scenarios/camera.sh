# The program's V4L2 driver against vivid and a USB camera: formats, lent slots, imports, faults, a camera that comes back.
# needs: vivid uvc tests
# deadline: 400 s
# shellcheck shell=dash

export ROVERCAST_CAMERA=/dev/video0 ROVERCAST_CAMERA_2=/dev/video1
failed=
tests() {
    camera-test --ignored --test-threads=1 --nocapture "$@" || failed="$failed $*"
}
for kind in "multiplanar=1,1 allocators=0,0" "multiplanar=2,2 allocators=1,1"; do
    echo "== vivid $kind"
    # shellcheck disable=SC2086 # the parameters are words
    modprobe vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0,0 $kind
    export ROVERCAST_UNPLUG='echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind'
    export ROVERCAST_PLUG='echo vivid.0 > /sys/bus/platform/drivers/vivid/bind'
    tests --skip hdmi
    rmmod vivid
    echo "== vivid with HDMI $kind"
    # shellcheck disable=SC2086
    modprobe vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=3,3 $kind
    tests hdmi
    rmmod vivid
done
echo "== USB camera"
plug_usb_camera
wait_for 10 rig find camera
ROVERCAST_CAMERA=$(rig find camera)
export ROVERCAST_UNPLUG="usb-camera unplug $USB_CAMERA" ROVERCAST_PLUG="usb-camera plug $USB_CAMERA"
tests slots_are_all_lent nothing_is_mapped
# Last: the camera that it leaves may have another number.
tests pulled_out
unplug_usb_camera
[ -z "$failed" ] || fail "failed:$failed"
