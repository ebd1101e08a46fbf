# shellcheck shell=bash
# Makes a Debian for the virtual board. Sourced by ../run-debian; uses say, fail, BOARD, CACHE, LOGS, boot_debian, and what
# ../host/*.sh have.
#
#   $CACHE/apt/debian/…/archives  the packages, until the root is made
#   $CACHE/debian/initramfs.cpio  busybox and the kernel's modules: makes the root, or boots it
#   $CACHE/debian/root.img        the root, an ext4 file system; runs change a copy that is thrown away

# The suite of the board's userland, and what a robot has beside the essential packages.
DEBIAN_PACKAGES="?essential apt ca-certificates dbus iproute2 kmod libstdc++6 systemd-sysv udev"
DEBIAN=$CACHE/debian
DEBIAN_SIZE=768M
DEBIAN_MODULES="virtio_blk crc32c_generic ext4 autofs4"
# Unpacking and configuring a hundred packages on an emulated processor.
INSTALL_SECONDS=1500

build_debian() {
    mkdir -p "$DEBIAN"
    rebuild_when_changed debian/initramfs pack_debian_initramfs -- "$BOARD"/debian/{init,root.sh}
    rebuild_when_changed debian/root make_debian -- "$BOARD"/debian/{install,root.sh}
}

make_debian() {
    rm -rf "$DEBIAN"/{share,root.img*}
    mkdir -p "$DEBIAN/share/data"
    fetch_debian
    # Without a journal and with room for reserved blocks of nobody: it is written once.
    /sbin/mke2fs -q -t ext4 -O ^has_journal -m 0 "$DEBIAN/root.img.part" $DEBIAN_SIZE > /dev/null ||
        fail "mke2fs failed"
    cp "$BOARD/debian/install" "$DEBIAN/share/"
    say "installing Debian on the board (once, some minutes)"
    boot_debian $INSTALL_SECONDS "$DEBIAN/root.img.part" "$DEBIAN/share" off > "$LOGS/install.log" || true
    grep -q '^installed$' "$LOGS/install.log" || fail "Debian was not installed: see $LOGS/install.log"
    mv "$DEBIAN/root.img.part" "$DEBIAN/root.img"
    rm -rf "$DEBIAN/share"
}

# The packages as they are, for dpkg; and their files without compression, for busybox, which makes the first dpkg of them.
fetch_debian() {
    local archives=$CACHE/apt/debian/cache/archives deb
    say "fetching Debian's packages"
    prepare_apt debian "$GUEST_SUITES" arm64
    # shellcheck disable=SC2086 # the packages are words
    private_apt debian apt-get install --download-only --yes $DEBIAN_PACKAGES
    mkdir -p "$DEBIAN/share/archives"
    mv "$archives"/*.deb "$DEBIAN/share/archives/"
    for deb in "$DEBIAN"/share/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" > "$DEBIAN/share/data/$(basename "$deb" .deb).tar"
    done
    rm -rf "$CACHE/apt/debian"
}

pack_debian_initramfs() {
    local root=$DEBIAN/initramfs release
    release=$(cat "$CACHE/kernel/release")
    mkdir -p "$root"/{bin,dev,host,lib,proc,root,sys}
    cp "$CACHE/userland/usr/bin/busybox" "$root/bin/"
    install -m 755 "$BOARD/debian/init" "$root/init"
    GUEST_MODULES="$GUEST_MODULES $DEBIAN_MODULES" copy_modules "$root" "$release"
    (cd "$root" && find . -mindepth 1 | tool cpio --quiet -o -H newc -R 0:0) > "$DEBIAN/initramfs.cpio"
    rm -rf "$root"
}
