# A USB camera with MJPEG reaches a viewer through the hardware encoder, with one conversion that is counted.
# needs: vh264enc uvc rovercast tests
# deadline: 120 s
# shellcheck shell=dash

export RUST_BACKTRACE=1 ROVERCAST_MAY_COPY=1
# In this size it has nothing but MJPEG.
export ROVERCAST_SIZE=640x480
load_encoder allocators=1 formats=1
plug_usb_camera
wait_for 10 rig find camera
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER
v4l2-ctl -d "$ROVERCAST_CAMERA" --list-formats-ext
board-test --ignored --nocapture --exact stream
