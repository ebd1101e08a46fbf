# shellcheck shell=bash
# Boots the virtual board with a disk. Sourced by ../run-debian; uses CACHE, DEBIAN, LOGS, SHARE, and what ../host/*.sh have.

# boot_debian SECONDS IMAGE SHARE SNAPSHOT [PORT]: what the board writes on its second console goes to standard output. With
# SNAPSHOT on, the image stays as it is. PORT of this machine's loopback leads to port 9000 of the board.
boot_debian() {
    local net=user,id=net
    [ -z "${5:-}" ] || net+=",hostfwd=tcp:127.0.0.1:$5-:9000"
    describe_machine
    timeout --foreground "$1" "${QEMU[@]}" -initrd "$DEBIAN/initramfs.cpio" \
        -append "console=ttyAMA0 rdinit=/init panic=-1 loglevel=4 net.ifnames=0 systemd.getty_auto=0 systemd.wants=board.service" \
        -drive "file=$2,format=raw,if=none,id=root,snapshot=$4,cache=unsafe" -device virtio-blk-pci,drive=root \
        -serial "file:$LOGS/serial.log" \
        -chardev stdio,id=results,signal=off -device virtio-serial-pci -device virtconsole,chardev=results \
        -fsdev "local,id=share,path=$3,security_model=none" -device virtio-9p-pci,fsdev=share,mount_tag=host \
        -netdev "$net" -device virtio-net-pci,netdev=net,romfile= \
        < /dev/null 2> "$LOGS/qemu.log" | sed -u 's/\r$//'
}
