# shellcheck shell=dash
# shellcheck disable=SC2119,SC2120 # scenarios pass the arguments
# What scenarios are written with. Each runs in its own folder, $ARTEFACTS; what it leaves there is kept when it fails.
# A scenario ends at the first command that fails (sh -eu).

# fail WORD...: ends the scenario with this reason.
fail() {
    echo "$*" > "$ARTEFACTS/reason"
    echo "FAILED: $*"
    exit 1
}

# assert EXPRESSION...: as test(1); the failing expression is the reason.
assert() {
    [ "$@" ] || fail "expected: $*"
}

# wait_for SECONDS COMMAND...: until the command succeeds, or fail.
wait_for() {
    wait_tries=$(($1 * 10))
    wait_seconds=$1
    shift
    until "$@" > /dev/null 2>&1; do
        wait_tries=$((wait_tries - 1))
        [ $wait_tries -gt 0 ] || fail "not within $wait_seconds s: $*"
        sleep 0.1
    done
}

# value KEY [FILE]: what the rig printed as KEY=VALUE.
value() {
    sed -n "s/^$1=//p" "${2:-rig.txt}" | tail -n 1
}

# expect KEY OPERATOR VALUE [FILE]: expect units -ge 10
expect() {
    expect_value=$(value "$1" "${4:-rig.txt}")
    test "$expect_value" "$2" "$3" || fail "$1 is '$expect_value', expected $2 $3 (${4:-rig.txt})"
}

# start NAME COMMAND...: in the background, with its output in NAME.log. stop NAME ends it.
start() {
    start_name=$1
    shift
    # Here, and not in the background: nobody is to find what an earlier one of this name wrote.
    : > "$start_name.log"
    "$@" >> "$start_name.log" 2>&1 &
    echo $! > "$start_name.pid"
}

stop() {
    kill "$(cat "$1.pid")" 2> /dev/null || true
    wait "$(cat "$1.pid")" 2> /dev/null || true
    rm -f "$1.pid"
}

# finished NAME: waits for it; its exit status is ours.
finished() {
    finished_status=0
    wait "$(cat "$1.pid")" || finished_status=$?
    rm -f "$1.pid"
    return $finished_status
}

# load_vivid [PARAMETER=VALUE]...: one simulated camera with a webcam input unless told otherwise.
load_vivid() {
    modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0 no_error_inj=0 "$@"
}

# load_hdmi [PARAMETER=VALUE]...: one that makes 25 pictures a second of any size: an HDMI input that gets 720p25 (CTA-861, VIC 61), and
# a scaler. The webcam input has sizes of its own, and none of them 320x240.
load_hdmi() {
    load_vivid input_types=3 "$@"
    v4l2-ctl -d "$(camera)" --set-dv-bt-timings \
        width=1280,height=720,hfp=2420,hs=40,hbp=220,vfp=5,vs=5,vbp=20,pixelclock=74250000,polarities=3
}

# load_encoder [PARAMETER=VALUE]...: the virtual encoder, afresh.
load_encoder() {
    if [ -e /sys/module/vh264enc ]; then
        rmmod vh264enc
    fi
    if [ ! -e /sys/module/v4l2_mem2mem ] || [ ! -e /sys/module/videobuf2_dma_contig ]; then
        modprobe -a v4l2-mem2mem videobuf2-dma-contig videobuf2-vmalloc
    fi
    insmod "$BOARD/vh264enc.ko" "$@"
}

# load_heaps [PARAMETER=VALUE]...: dma-heaps, afresh.
load_heaps() {
    if [ -e /sys/module/vdmaheap ]; then
        rmmod vdmaheap
    fi
    insmod "$BOARD/vdmaheap.ko" "$@"
}

# quirk NAME VALUE: for as long as the module is loaded.
quirk() {
    echo "$2" > "/sys/module/vh264enc/parameters/$1"
}

# camera, encoder: the node of the first one there is. The virtual board makes one when none is loaded.
camera() {
    if [ "$BOARD_KIND" = virtual ] && [ ! -e /sys/module/vivid ]; then
        load_vivid
    fi
    rig find camera
}

encoder() {
    if [ "$BOARD_KIND" = virtual ] && [ ! -e /sys/module/vh264enc ]; then
        load_encoder
    fi
    rig find encoder
}

plug_usb_camera() {
    modprobe -a vhci-hcd uvcvideo
    # shellcheck disable=SC2086 # host and port are two words
    usb-camera plug $USB_CAMERA
}

unplug_usb_camera() {
    # shellcheck disable=SC2086
    usb-camera unplug $USB_CAMERA
}
