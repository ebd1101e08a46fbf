# shellcheck shell=bash
# Boots a virtual board and prints what its runner says. Sourced by ../run, ../run-debian and ../run-as-robot; uses say, fail, BOARD, BOARD_LOGS,
# CACHE, IN_NETWORK, SHARE.

# One run of a kind at a time: two would fight over the share.
lock_share() {
    exec 9> "$SHARE.lock"
    flock -n 9 || say "waiting for another run to end"
    flock 9
    rm -f "$SHARE.pid"
}

# Scenarios and Debian may run side by side; what both need is fetched and built by one of them.
lock_cache() {
    exec 8> "$CACHE/lock"
    flock 8
}

unlock_cache() { flock -u 8; }

# The cheapest to emulate, and what a Raspberry Pi Zero 2 W or 3 has.
CPU=cortex-a53
# Five, when nothing else runs.
BOOT_SECONDS=180
# A kernel at an address of chance keeps its pages apart from its processes', on a processor without E0PD, and QEMU forgets every
# translation when they are swapped: a system call takes 29 µs then, and 5 without. Hardware has no such trouble.
ADDRESSES=nokaslr

# describe_machine: QEMU with the board and its kernel, as the words of the array QEMU; what is plugged in is the caller's.
describe_machine() {
    # shellcheck disable=SC2054 # the commas are QEMU's
    QEMU=("$CACHE/tools/lib64/ld-linux-x86-64.so.2" --library-path "$(tool_libraries)"
        "$(tool_path qemu-system-aarch64)" -L "$CACHE/tools/usr/share/qemu"
        -M virt,gic-version=3 -cpu "$CPU" -smp 2 -m 1024 -accel tcg,thread=multi
        -nodefaults -display none -no-reboot -pidfile "$SHARE.pid"
        -kernel "$CACHE/kernel/boot/vmlinuz-$(cat "$CACHE/kernel/release")")
}

# boot: runs the plan in $SHARE on the virtual board; its results go to standard output.
boot() {
    local net=user,id=net
    cp "$CACHE"/{vh264enc/vh264enc,vdmaheap/vdmaheap}.ko "$SHARE/"
    if [ ${#IN_NETWORK[@]} -gt 0 ]; then net=tap,id=net,ifname=tap0,script=no,downscript=no; fi
    describe_machine
    # Results travel on a console of their own: the kernel writes on the serial line whenever it likes.
    "${IN_NETWORK[@]}" "${QEMU[@]}" -initrd "$CACHE/initramfs.cpio" \
        -append "console=ttyAMA0 rdinit=/init panic=-1 loglevel=4 $ADDRESSES" \
        -serial "file:$BOARD_LOGS/serial-$BOOT.log" \
        -chardev stdio,id=results,signal=off -device virtio-serial-pci -device virtconsole,chardev=results \
        -fsdev "local,id=share,path=$SHARE,security_model=none" -device virtio-9p-pci,fsdev=share,mount_tag=host \
        -netdev "$net" -device virtio-net-pci,netdev=net,romfile= \
        < /dev/null 2> "$BOARD_LOGS/qemu.log"
}

# run_boots NAME...: boots until every scenario was heard of. One that the board cannot get rid of, or that brings it down, costs
# a boot and fails alone.
run_boots() {
    UNHEARD=("$@")
    BOOT=0
    while [ ${#UNHEARD[@]} -gt 0 ]; do
        if [ $BOOT -eq $BOOTS_AT_MOST ]; then
            for name in "${UNHEARD[@]}"; do report "not-ok $name 0 not run: the board came to its end $BOOT times"; done
            return
        fi
        BOOT=$((BOOT + 1))
        printf '%s\n' "${UNHEARD[@]}" > "$SHARE/plan"
        report_all "${UNHEARD[@]}" < <(boot)
    done
}
BOOTS_AT_MOST=4

# When the board has not said a word for longer than it may take.
power_off() {
    local process
    # QEMU removes the file when it exits.
    process=$(cat "$SHARE.pid" 2> /dev/null) || return 0
    kill -9 "$process" 2> /dev/null || true
    rm -f "$SHARE.pid"
}

# A USB camera on this machine, which the guest reaches as 10.0.2.2: QEMU's name for its loopback, or an address of ours.
start_usb_camera() {
    local port address=127.0.0.1
    if [ ${#IN_NETWORK[@]} -gt 0 ]; then address=$HOST_ADDRESS; fi
    "${IN_NETWORK[@]}" python3 -u "$BOARD/rig/uvcsim.py" $address > "$BOARD_LOGS/usb-camera.log" 2>&1 &
    USB_CAMERA=$!
    for _ in $(seq 100); do
        port=$(sed -n 's/^listening on //p' "$BOARD_LOGS/usb-camera.log")
        if [ -n "$port" ]; then
            echo "USB_CAMERA='$HOST_ADDRESS $port'" >> "$SHARE/environment"
            return
        fi
        sleep 0.05
    done
    fail "the simulated USB camera does not start: see $BOARD_LOGS/usb-camera.log"
}

# When the run ends, or is interrupted.
stop_board() {
    if [ -n "${USB_CAMERA:-}" ]; then kill "$USB_CAMERA" 2> /dev/null || true; fi
    power_off
    close_network
}
