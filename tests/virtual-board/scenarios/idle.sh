# With no viewer camera and encoder are closed, and the program costs next to nothing.
# needs: camera encoder rovercast tests
# wants: quiet
# deadline: 300 s
# shellcheck shell=dash

ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER RUST_BACKTRACE=1
board-test --ignored --nocapture --exact idle
