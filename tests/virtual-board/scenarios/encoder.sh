# The program's encoder driver with a camera before it: the four paths, each quirk, each rung of the ladder.
# needs: vivid vh264enc tests
# deadline: 900 s
# shellcheck shell=dash

export RUST_BACKTRACE=1 ROVERCAST_LEAVE_STREAMS=1
failed=

# tests FILTER...: of tests/encoder.rs, built for aarch64.
tests() {
    encoder-test --ignored --test-threads=1 --nocapture "$@" || failed="$failed $*"
}

# load CAMERA_PARAMETERS ENCODER_PARAMETERS: afresh.
load() {
    echo "== camera $1, encoder $2"
    rmmod vivid 2> /dev/null || true
    # shellcheck disable=SC2086 # the parameters are words
    load_vivid $1
    # shellcheck disable=SC2086
    load_encoder $2
    ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
    export ROVERCAST_CAMERA ROVERCAST_ENCODER
}

# One camera for all: the node of an encoder that was taken away may come back under another number.
load "allocators=1 multiplanar=1" "allocators=1"
tests --skip scattered --skip taken_away --skip pulled_out
tests taken_away

load "allocators=1 multiplanar=1" "allocators=1"
tests pulled_out

load "allocators=1 multiplanar=2" "allocators=1 multiplanar=0"
tests path memory copy key_frame --skip scattered

# Scattered pages: the encoder without an IOMMU refuses them, and fills its own instead.
load "allocators=0 multiplanar=1" "allocators=1"
tests scattered best_path

# An encoder behind an IOMMU takes them.
load "allocators=0 multiplanar=1" "allocators=0"
tests own_memory

[ -z "$failed" ] || fail "failed:$failed"
