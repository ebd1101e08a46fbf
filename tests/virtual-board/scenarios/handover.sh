# Camera and encoder that cannot use each other's memory meet in a dma-heap, or the processor copies; /status, /metrics and probe say which, and why.
# needs: vivid vh264enc rovercast tests
# deadline: 300 s
# shellcheck shell=dash

export RUST_BACKTRACE=1 ROVERCAST_EXPECTED_PATH ROVERCAST_EXPECTED_REFUSED ROVERCAST_EXPECTED_HEAP

# The camera's memory is scattered, the encoder reaches contiguous memory only, and does not share its own.
load_vivid allocators=0
load_encoder allocators=1 formats=1 no_expbuf=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER
no_export='encoder-export: cannot export a buffer: the driver does not have this call'
scattered='camera-export: cannot queue a buffer: the device cannot reach this memory (errno 14)'

streams() {
    echo "== $1"
    board-test --ignored --nocapture --exact stream || fail "$1"
}

ROVERCAST_EXPECTED_PATH=copy
ROVERCAST_EXPECTED_REFUSED="$no_export|$scattered|heap: there is no dma-heap that both can use"
# 320x180, NV12.
ROVERCAST_EXPECTED_COPIED=86400
export ROVERCAST_EXPECTED_COPIED
streams "no dma-heap"
unset ROVERCAST_EXPECTED_COPIED

# The picture moves: what the camera's driver writes is synced to where the encoder reads.
load_heaps
ROVERCAST_EXPECTED_PATH=heap
ROVERCAST_EXPECTED_HEAP=linux,cma
ROVERCAST_EXPECTED_REFUSED="$no_export|$scattered"
streams "a dma-heap"

rovercast probe --size 320x240 --fps 15 > table.txt
cat table.txt
grep -q 'NV12, heap linux,cma: .* nothing copied' table.txt || fail "probe does not say heap linux,cma"

# A name is no promise.
load_heaps scattered=linux,cma contiguous=reserved
ROVERCAST_EXPECTED_HEAP=reserved
ROVERCAST_EXPECTED_REFUSED="$no_export|$scattered|heap linux,cma: cannot queue a buffer: the device cannot reach"
streams "a heap that is not what its name says, and another"
