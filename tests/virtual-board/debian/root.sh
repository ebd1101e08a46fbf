# shellcheck shell=bash
# Makes a Debian for the virtual board. Sourced by ../run-debian; uses say, fail, BOARD, CACHE, LOGS, boot_debian, and what
# ../host/*.sh have.
#
#   $CACHE/apt/debian/…/archives  the packages, until the root is made
#   $CACHE/debian/share           their files, and what dpkg would write of them, for the board
#   $CACHE/debian/initramfs.cpio  busybox and the kernel's modules: makes the root, or boots it
#   $CACHE/debian/root.img        the root, an ext4 file system; runs change a copy that is thrown away

# The suite of the board's userland, and what a robot has beside the essential packages.
DEBIAN_PACKAGES="?essential apt ca-certificates dbus iproute2 kmod libstdc++6 systemd-sysv udev"
DEBIAN=$CACHE/debian
DEBIAN_SIZE=768M
DEBIAN_MODULES="virtio_blk crc32c_generic ext4 autofs4"
# Unpacking and configuring a hundred packages on an emulated processor.
INSTALL_SECONDS=900

build_debian() {
    mkdir -p "$DEBIAN"
    rebuild_when_changed debian/initramfs pack_debian_initramfs -- "$BOARD"/debian/{init,root.sh}
    rebuild_when_changed debian/root make_debian -- "$BOARD"/debian/{install,root.sh}
}

make_debian() {
    rm -rf "$DEBIAN"/{share,root.img*}
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

# What an emulated processor would take minutes for is done here: the packages are taken apart, and the board's dpkg is told that they
# are unpacked. It configures them.
fetch_debian() {
    local archives=$CACHE/apt/debian/cache/archives deb
    say "fetching Debian's packages"
    prepare_apt debian "$GUEST_SUITES" arm64
    # shellcheck disable=SC2086 # the packages are words
    private_apt debian apt-get install --download-only --yes $DEBIAN_PACKAGES
    mkdir -p "$DEBIAN"/share/{data,dpkg/info}
    for deb in "$archives"/*.deb; do take_apart "$deb"; done
    rm -rf "$CACHE/apt/debian"
}

# take_apart DEB: its files without compression, for busybox; and its part of dpkg's database.
take_apart() {
    local name control=$DEBIAN/control info=$DEBIAN/share/dpkg/info data file
    name=$(dpkg-deb --field "$1" Package)
    data=$DEBIAN/share/data/$name.tar
    dpkg-deb --fsys-tarfile "$1" > "$data"
    [ "$(dpkg-deb --field "$1" Multi-Arch)" != same ] || name+=:arm64
    tar -tf "$data" | sed -e 's|^\.||' -e 's|^/$|/.|' -e 's|\(.\)/$|\1|' > "$info/$name.list"
    dpkg-deb --control "$1" "$control"
    {
        cat "$control/control"
        echo 'Status: install ok unpacked'
        if [ -e "$control/conffiles" ]; then
            echo 'Conffiles:'
            while read -r file; do
                echo " $file $(tar -xOf "$data" ".$file" | md5sum | cut -d' ' -f1)"
            done < "$control/conffiles"
        fi
        echo
    } >> "$DEBIAN/share/dpkg/status"
    rm "$control/control"
    for file in "$control"/*; do mv "$file" "$info/$name.${file##*/}"; done
    rmdir "$control"
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
