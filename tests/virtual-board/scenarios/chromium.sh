# A real Chromium on this machine shows what the board's camera sees: over a network between the two, through a relay with TLS.
# needs: vivid vh264enc rovercast tests network
# deadline: 180 s
# shellcheck shell=dash

load_hdmi allocators=1
load_encoder allocators=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER RUST_BACKTRACE=1
board-test --ignored --nocapture --exact network::chromium
