# Of two viewers the one with the narrow link gets a second instance's pictures, without a copy, and the other keeps its own.
# needs: vivid vh264enc rovercast tests
# deadline: 420 s
# shellcheck shell=dash

modprobe -a sch_prio sch_tbf cls_u32
load_vivid allocators=1
load_encoder allocators=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER RUST_BACKTRACE=1
board-test --ignored --nocapture --exact narrow::two_renditions
board-test --ignored --nocapture --exact narrow::two_renditions_become_one_of_half_the_size
