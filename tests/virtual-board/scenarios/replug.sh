# A USB camera is pulled out and put back while two watch: same peers, picture back within 3 s, and nothing leaks in 20 cycles.
# needs: vh264enc uvc rovercast tests
# deadline: 400 s
# shellcheck shell=dash

load_encoder
plug_usb_camera
wait_for 10 rig find camera
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER RUST_BACKTRACE=1
export ROVERCAST_UNPLUG="usb-camera unplug $USB_CAMERA" ROVERCAST_PLUG="usb-camera plug $USB_CAMERA"
board-test --ignored --nocapture --exact replug
