# Each parameter of the encoder module does what the table says, and nothing is odd without one.
# needs: vh264enc
# deadline: 300 s
# shellcheck shell=dash

# encode QUIRK...: sets NAME=VALUE for the module, encodes with the options that follow --, and unsets nothing:
# every check starts with a freshly loaded module.
encode() {
    parameters=
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        parameters="$parameters $1"
        shift
    done
    [ $# = 0 ] || shift
    echo "==$parameters -- $*"
    # shellcheck disable=SC2086 # parameters are words
    load_encoder $parameters
    # Small pictures: the board is emulated.
    rig encode "$(encoder)" --size 160x120 "$@" > rig.txt 2>&1 || true
    cat rig.txt
}

has_control() {
    v4l2-ctl -d "$(encoder)" --list-ctrls | grep -q " $1 "
}

plain() {
    encode -- --frames 60 --gop 20 --key-at 30 --output plain.h264
    expect end = last
    expect eos -eq 1
    expect epipe -eq 0
    expect units -eq 60
    expect header_only -eq 0
    expect wrong_flag -eq 0
    expect unmatched -eq 0
    expect errors -eq 0
    # FORCE_KEY_FRAME acts on the next frame that the encoder takes up: one that was queued earlier, maybe.
    expect forced_key_at -ge 26
    expect forced_key_at -le 31
    has_control force_key_frame || fail "no force_key_frame control"
}

looks() {
    for align in 32 64 128; do
        encode stride_align=$align -- --size 336x240 --frames 4
        expect stride -eq $(((336 + align - 1) / align * align))
        expect units -eq 4
    done

    encode height_align=16 -- --size 1920x1080 --frames 2 --output uncropped.h264
    expect height -eq 1088
    encode height_align=16 -- --size 1920x1080 --crop 1920x1080 --frames 2 --output cropped.h264
    expect height -eq 1088
    expect units -eq 2

    encode formats=1 -- --format YUYV
    expect failed = S_FMT-OUTPUT
    encode formats=4 -- --format YUYV --frames 4
    expect units -eq 4
    encode multiplanar=0 -- --frames 4
    expect units -eq 4

    # Formats of several memory planes, which the rig cannot fill.
    for format in NM12 YM12; do
        planes=2 bit=8
        [ $format = NM12 ] || planes=3 bit=16
        load_encoder formats=$bit allocators=1
        v4l2-ctl -d "$(encoder)" --set-fmt-video-out=width=160,height=120,pixelformat=$format --get-fmt-video-out \
            --stream-out-mmap --stream-out-pattern=12 --stream-mmap --stream-count=10 --stream-to=$format.h264 \
            > planes.txt 2>&1 || fail "$format: $(tail -n 1 planes.txt)"
        grep -q "Number of planes *: $planes" planes.txt || fail "$format has not $planes planes"
        assert -s $format.h264
    done

    # The first takes as long as it must: nobody but the rig opens the node before the rig has it.
    load_encoder max_instances=1 latency_us=50000
    node=$(encoder)
    start first rig encode "$node" --frames 4000
    wait_for 20 grep -q streaming=1 first.log
    rig encode "$node" > rig.txt || true
    expect failed = open
    expect errno = EBUSY
    stop first
}

buffers() {
    encode min_output_buffers=6 min_capture_buffers=5 -- --buffers 2,2 --frames 8
    expect output_buffers -eq 6
    expect capture_buffers -eq 5
    expect units -eq 8
    encode min_output_buffers=6 -- --buffers 4,4 --create-buffers
    expect failed = STREAMON-OUTPUT
    expect errno = EINVAL
    encode min_capture_buffers=6 -- --buffers 4,4 --create-buffers
    expect failed = STREAMON-CAPTURE
    expect errno = EINVAL

    encode need_queued_output=0 -- --start-empty --frames 4
    expect units -eq 4
    encode need_queued_output=1 -- --start-empty
    expect failed = STREAMON-OUTPUT
    expect errno = EINVAL
    encode need_queued_output=1 -- --frames 4
    expect units -eq 4
}

controls() {
    encode no_force_key=1 -- --key-at 5
    expect force_key = refused
    expect idr -eq 1
    ! has_control force_key_frame || fail "force_key_frame is offered"

    # The rate follows the control, unless it is fixed: then S_CTRL succeeds all the same.
    encode -- --frames 120 --bitrate 400000 --then-bitrate 80000
    expect set_bitrate -eq 0
    [ "$(value second_kbps)" -lt $(($(value first_kbps) / 2)) ] || fail "the rate did not follow"
    encode fixed_bitrate=1 -- --frames 120 --bitrate 400000 --then-bitrate 80000
    expect set_bitrate -eq 0
    [ "$(value second_kbps)" -gt $(($(value first_kbps) / 2)) ] || fail "the rate followed"

    # 320x240 at 30 per second is 9000 macroblocks per second: level 1.3 (entry 4) does it, 1.2 (entry 3) does not.
    encode strict_level=1 -- --size 320x240 --bitrate 300000
    expect failed = STREAMON-OUTPUT
    expect errno = ESRCH
    encode strict_level=1 -- --size 320x240 --bitrate 300000 --level 3
    expect errno = ESRCH
    encode strict_level=1 -- --size 320x240 --bitrate 300000 --level 4 --frames 4
    expect units -eq 4
    encode strict_level=1 -- --size 320x240 --bitrate 5000000 --level 4
    expect errno = ESRCH

    # Menu entries of HEADER_MODE: 0 separate, 1 joined.
    encode separate_headers=1 -- --frames 30 --gop 10 --output separate.h264
    expect header_only -eq 3
    expect units -eq 30
    expect headers_share_timestamp -eq 1
    expect end = last
    encode separate_headers=1 -- --header-mode 1
    expect header_only -eq 0
    encode separate_headers=2 -- --header-mode 1
    expect header_only -eq 1
    encode separate_headers=0 -- --header-mode 0
    expect header_only -eq 0
}

# VBR saves on easy pictures, CBR spends what it is given.
bitrate_mode() {
    encode -- --frames 60 --bitrate 2000000 --bitrate-mode 1
    cbr=$(value second_kbps)
    encode -- --frames 60 --bitrate 2000000 --bitrate-mode 0
    [ "$(value second_kbps)" -lt "$cbr" ] || fail "VBR $(value second_kbps) kbit/s, CBR $cbr"
}

stream() {
    encode no_keyframe_flag=1 -- --gop 10
    expect idr -eq 3
    expect flagged_key -eq 0

    encode drain_epipe=1 -- --frames 30
    expect end = epipe
    expect last -eq 0
    expect eos -eq 1
    expect units -eq 30

    encode skip_every=5 -- --frames 30 --output skipped.h264
    expect returned -ge 26
    expect units -eq 24
    expect errors -eq 0
    expect end = last
    # The key frame of frame 20 is skipped: its headers come alone.
    encode skip_every=7 -- --frames 30 --gop 20
    expect header_only -eq 1
    expect idr -eq 1

    encode timestamp_step_us=1000 -- --frames 30
    expect unmatched -eq 30
    encode timestamp_step_us=1 -- --frames 30
    expect unmatched -eq 0

    encode -- --frames 30 --restart-at 10 --output restarted.h264
    expect idr_after_restart -eq 1
    encode restart_stalls=1 -- --frames 30 --restart-at 10 --deadline 2000
    expect end = silence
    encode restart_stalls=1 -- --frames 30 --restart-at 10 --deadline 2000 --on-silence reopen
    expect idr_after_restart -eq 1
    expect end = last

    encode data_offset=128 -- --frames 10 --output offset.h264
    expect data_offset -eq 128
    expect units -eq 10
    expect header_only -eq 0

    encode pcm=1 -- --frames 2 --output pcm.h264
    expect bytes -ge 50000
    encode skip_threshold=100000 -- --frames 10
    expect bytes -lt 10000
}

# START ends a drain, and with drain_sticks only a restart of CAPTURE does.
draining() {
    for sticks in 0 1; do
        load_encoder drain_sticks=$sticks
        rig encode "$(encoder)" --frames 10 --after-drain > rig.txt || true
        cat rig.txt
        expect resumed_by_start -eq $((1 - sticks))
        expect resumed_by_restart -eq 1
    done
}

faults() {
    encode latency_us=50000 -- --frames 10
    expect took_ms -ge 500
    encode stall_ms=1500 -- --frames 10
    expect took_ms -ge 1500
    expect units -eq 10
    encode error_buffers=3 -- --frames 10
    expect errors -eq 3
    expect units -eq 7
    encode fail_streamon=1
    expect failed = STREAMON-OUTPUT
    expect errno = EIO
    encode fail_reqbufs=1
    expect failed = REQBUFS-OUTPUT
    expect errno = ENOMEM
    assert "$(cat /sys/module/vh264enc/parameters/fail_reqbufs)" = N
    rig encode "$(encoder)" --frames 4 > rig.txt
    expect units -eq 4
}

# vivid's scattered pages do not fit an encoder that imports contiguous memory; contiguous ones do.
contiguous() {
    load_vivid allocators=0
    encode allocators=1 -- --camera "$(camera)" --frames 4
    expect failed = QBUF-OUTPUT
    expect errno = EFAULT
    rmmod vh264enc vivid
    load_vivid allocators=1
    encode allocators=1 -- --camera "$(camera)" --frames 10
    expect end = last
    expect unmatched -eq 0
}

plain
looks
buffers
controls
bitrate_mode
stream
draining
faults
contiguous
