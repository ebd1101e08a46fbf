# The program encodes about as many frames a second as the rig's plain loop over the same devices.
# needs: vivid vh264enc rovercast tests
# wants: quiet
# deadline: 180 s
# shellcheck shell=dash

# HDMI: any size, 60 frames a second.
load_vivid allocators=1 input_types=3
load_encoder allocators=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER RUST_BACKTRACE=1
board-test --ignored --nocapture --exact speed
