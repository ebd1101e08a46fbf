# The encoder fails in seven ways: the peers stay, and the picture returns, at last from the software encoder.
# needs: vivid vh264enc rovercast tests
# deadline: 300 s
# shellcheck shell=dash

load_vivid allocators=1
load_encoder allocators=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER RUST_BACKTRACE=1
board-test --ignored --nocapture --exact encoder_faults
board-test --ignored --nocapture --exact encoder_comes_and_goes
