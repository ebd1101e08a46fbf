# The program's encoder driver against vivid and the virtual encoder.
# needs: vivid vh264enc
# deadline: 550 s
# shellcheck shell=dash

export RUST_BACKTRACE=1 ROVERCAST_LEAVE_STREAMS=1
load_vivid allocators=1 multiplanar=1
load_encoder allocators=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER
encoder-test --ignored --test-threads=1 --nocapture --skip scattered || true
