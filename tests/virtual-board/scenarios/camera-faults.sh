# The camera fails in eight ways: nothing panics, the peer stays, and the picture returns.
# needs: vivid vh264enc rovercast tests
# deadline: 240 s
# shellcheck shell=dash

load_vivid allocators=1
load_encoder allocators=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER RUST_BACKTRACE=1
board-test --ignored --nocapture --exact camera_faults
