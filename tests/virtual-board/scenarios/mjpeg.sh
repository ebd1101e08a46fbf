# A USB camera with MJPEG reaches a viewer through the hardware encoder, with one conversion that is counted.
# needs: vh264enc uvc rovercast tests
# deadline: 120 s
# shellcheck shell=dash

# In this size it has nothing but MJPEG; a picture of NV12 has 460800 bytes.
export RUST_BACKTRACE=1 ROVERCAST_SIZE=640x480 ROVERCAST_EXPECTED_COPIED=460800
load_encoder allocators=1 formats=1
plug_usb_camera
wait_for 10 rig find camera
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER
v4l2-ctl -d "$ROVERCAST_CAMERA" --list-formats-ext
board-test --ignored --nocapture --exact stream
