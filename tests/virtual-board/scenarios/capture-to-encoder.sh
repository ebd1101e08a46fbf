# A camera's frames reach the encoder as DMA-BUFs and come out as H.264 that decodes.
# needs: camera encoder
# shellcheck shell=dash

camera=$(camera)
encoder=$(encoder)
rig encode "$encoder" --camera "$camera" --size 320x240 --format NV12 --fps 15 --frames 60 \
    --output camera.h264 > rig.txt || fail "rig: $(tail -n 2 rig.txt | tr '\n' ' ')"

expect end = last
expect errors -eq 0
expect unmatched -eq 0
expect camera_errors -eq 0
expect units -ge 55
expect idr -ge 1

# SPS, then PPS, then an IDR slice: the first three NAL units of the file.
nal_types=$(od -An -v -tx1 camera.h264 | tr -d ' \n' | cut -c1-400 |
    sed 's/00000001/\n/g' | sed -n '2,4s/^\(..\).*/\1/p' | tr '\n' ' ')
assert "$nal_types" = "67 68 65 "
