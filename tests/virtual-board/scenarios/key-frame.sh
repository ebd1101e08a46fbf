# A viewer who reports a loss gets a key frame within two seconds, and nobody gets one unasked.
# needs: camera encoder rovercast tests
# deadline: 90 s
# shellcheck shell=dash

ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER RUST_BACKTRACE=1
board-test --ignored --nocapture --exact key_frame
