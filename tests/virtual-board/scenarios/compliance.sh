# The encoder module passes v4l2-compliance: multi-planar and scattered, single-planar and contiguous.
# needs: vivid vh264enc
# deadline: 180 s
# shellcheck shell=dash

check() {
    load_encoder "$@"
    name=$(echo "$*" | tr ' =' '--')
    v4l2-compliance -d "$(encoder)" --streaming=10 --expbuf-device "$(camera)" > "compliance-$name.txt" 2>&1 ||
        fail "$*: $(grep -m 1 -e 'fail:' "compliance-$name.txt") $(tail -n 1 "compliance-$name.txt")"
    tail -n 1 "compliance-$name.txt"
    grep -q 'Failed: 0, Warnings: 0' "compliance-$name.txt" || fail "$*: $(tail -n 1 "compliance-$name.txt")"
}

# The exporter's buffers must be as large as the encoder's default 640x480.
load_vivid allocators=1
v4l2-ctl -d "$(camera)" --set-fmt-video=width=640,height=480,pixelformat=NV12 > /dev/null

check multiplanar=1 allocators=0
check multiplanar=0 allocators=1
