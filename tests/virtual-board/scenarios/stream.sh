# A viewer sees a moving picture, camera to WebRTC, and no processor touched a raw pixel: any format, layout and stride.
# needs: vivid vh264enc rovercast tests
# deadline: 420 s
# shellcheck shell=dash

export RUST_BACKTRACE=1
failed=

# streams CAMERA_PARAMETERS ENCODER_PARAMETERS: with both loaded afresh.
streams() {
    echo "== camera $1, encoder $2"
    rmmod vivid 2> /dev/null || true
    # shellcheck disable=SC2086 # the parameters are words
    load_vivid $1
    # shellcheck disable=SC2086
    load_encoder $2
    ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
    export ROVERCAST_CAMERA ROVERCAST_ENCODER
    board-test --ignored --nocapture --exact stream || failed="$failed; $1 $2"
}

# Contiguous memory on both sides: the encoder's serves the camera.
export ROVERCAST_EXPECTED_PATH=encoder-export
streams "allocators=1 multiplanar=1" "allocators=1 formats=1"
# The camera's own memory is scattered, which an encoder without an IOMMU cannot read.
streams "allocators=0 multiplanar=2" "allocators=1 formats=1 multiplanar=0"
unset ROVERCAST_EXPECTED_PATH
streams "allocators=1 multiplanar=2" "allocators=1 formats=2 stride_align=64"
streams "allocators=1 multiplanar=1" "allocators=1 formats=4 stride_align=128"

[ -z "$failed" ] || fail "failed:$failed"
