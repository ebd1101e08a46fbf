# On a link too narrow for the picture camera and encoder are opened again for half of it, and later for the whole; the viewer stays.
# needs: vivid vh264enc uvc rovercast tests
# deadline: 420 s
# shellcheck shell=dash

export RUST_BACKTRACE=1 ROVERCAST_CAMERA ROVERCAST_ENCODER
modprobe -a sch_prio sch_tbf cls_u32

load_vivid allocators=1
load_encoder allocators=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
board-test --ignored --nocapture --exact narrow::smaller_picture

# The USB camera has nothing below 320x240.
rmmod vivid
plug_usb_camera
wait_for 10 rig find camera
ROVERCAST_CAMERA=$(camera)
board-test --ignored --nocapture --exact narrow::camera_of_one_size
