# Devices that vanish while they stream: drivers unbound, a camera disconnected, a USB cable pulled and put back.
# needs: vivid vh264enc uvc
# deadline: 120 s
# shellcheck shell=dash

# streams NODE FORMAT...: frames reach the encoder without a copy.
streams() {
    rig encode "$node" --camera "$1" --size 320x240 --format "$2" --fps 15 --frames 10 > rig.txt || true
    cat rig.txt
    expect end = last rig.txt
}

# until_gone NODE FORMAT: streams in the background, until the camera goes away.
until_gone() {
    start doomed rig encode "$node" --camera "$1" --size 320x240 --format "$2" --fps 15 --frames 4000
    wait_for 10 grep -q streaming=1 doomed.log
}

was_noticed() {
    finished doomed || true
    cat doomed.log
    expect end = unplugged doomed.log
    expect camera_errno = ENODEV doomed.log
    expect units -ge 1 doomed.log
}

camera_is_gone() { ! rig find camera; }

load_encoder
node=$(encoder)
load_vivid

echo "== encoder: driver unbound and bound"
start doomed rig encode "$node" --frames 100000
wait_for 10 grep -q streaming=1 doomed.log
echo vh264enc > /sys/bus/platform/drivers/vh264enc/unbind
finished doomed || true
cat doomed.log
expect errno = ENODEV doomed.log
encoder_is_gone() { ! rig find encoder; }
wait_for 20 encoder_is_gone
echo vh264enc > /sys/bus/platform/drivers/vh264enc/bind
wait_for 20 rig find encoder
node=$(encoder)
rig encode "$node" --frames 4 > rig.txt
expect units -eq 4

echo "== vivid: driver unbound and bound"
until_gone "$(camera)" NV12
echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind
was_noticed
wait_for 20 camera_is_gone
echo vivid.0 > /sys/bus/platform/drivers/vivid/bind
wait_for 20 rig find camera
streams "$(camera)" NV12

echo "== vivid: disconnected, the node stays"
camera=$(camera)
until_gone "$camera" NV12
v4l2-ctl -d "$camera" -c disconnect=1
was_noticed
assert -e "$camera"
rmmod vivid

echo "== USB camera: cable pulled and put back"
plug_usb_camera
wait_for 10 rig find camera
for round in 1 2 3 4 5; do
    echo "== round $round"
    streams "$(rig find camera)" YUYV
    until_gone "$(rig find camera)" YUYV
    unplug_usb_camera
    was_noticed
    wait_for 20 camera_is_gone
    plug_usb_camera
    wait_for 10 rig find camera
done
streams "$(rig find camera)" YUYV
unplug_usb_camera
wait_for 20 camera_is_gone
