# shellcheck shell=bash
# Builds what runs on the board: the kernel modules, the rig's programs, the root file system, and the folder that
# the guest mounts. Sourced by ../run; uses say, fail, BOARD, CACHE, LOGS, SHARE, PROGRAMS.

CROSS=aarch64-linux-gnu-
# Loaded by scenarios with modprobe; what they depend on is found in modules.dep.
GUEST_MODULES="vivid v4l2-mem2mem videobuf2-dma-contig uvcvideo vhci-hcd virtio_net sch_prio sch_tbf sch_netem cls_u32 9p 9pnet_virtio"
GUEST_PROGRAMS="bin/v4l2-ctl bin/v4l2-compliance sbin/tc"
# Our own, each of its folder.
MODULES="vh264enc vdmaheap"

require_cross_compiler() {
    if command -v ${CROSS}gcc > /dev/null && [ -e /usr/aarch64-linux-gnu/include/stdio.h ]; then
        return
    fi
    [ "$(id -u)" = 0 ] || fail "no aarch64 compiler: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
    say "installing gcc-aarch64-linux-gnu and libc6-dev-arm64-cross"
    apt-get install --yes --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
        >> "$LOGS/fetch.log" 2>&1 || fail "installing the aarch64 compiler failed: see $LOGS/fetch.log"
}

# rebuild_when_changed STAMP COMMAND -- FILE...: runs COMMAND unless it ran for these very files.
rebuild_when_changed() {
    local stamp=$CACHE/$1.stamp command=$2 state
    shift 3
    # For a robot nothing was fetched, maybe.
    state=$({ cat "$CACHE/fetched" 2> /dev/null || true; sha256sum "$@"; } | sha256sum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
        rm -f "$stamp"
        "$command"
        echo "$state" > "$stamp"
    fi
}

build_modules() {
    rebuild_when_changed modules compile_modules -- "$BOARD"/{vh264enc,vdmaheap}/*
}

compile_modules() {
    local name sources release
    release=$(cat "$CACHE/kernel/release")
    for name in $MODULES; do
        sources=$CACHE/$name
        rm -rf "$sources"
        cp -r "$BOARD/$name" "$sources"
        # Without LD_LIBRARY_PATH and friends: the kernel's build runs host programs.
        make -C "$CACHE/kernel/usr/src/linux-headers-$release" M="$sources" ARCH=arm64 CROSS_COMPILE=$CROSS modules \
            > "$LOGS/module-$name.log" 2>&1 || fail "building $name failed: see $LOGS/module-$name.log"
        ${CROSS}strip -g "$sources/$name.ko"
    done
}

build_rig() {
    rebuild_when_changed rig compile_rig -- "$BOARD"/rig/*.[ch]
}

# Static, so that they run on any aarch64 robot too.
compile_rig() {
    local flags="-O2 -std=gnu11 -Wall -Wextra -static"
    mkdir -p "$CACHE/bin"
    # shellcheck disable=SC2086 # the flags are words
    { ${CROSS}gcc $flags -o "$CACHE/bin/rig" "$BOARD"/rig/{rig,session,v4l2,h264}.c &&
        ${CROSS}gcc $flags -o "$CACHE/bin/usb-camera" "$BOARD/rig/usb-camera.c"; } \
        > "$LOGS/rig.log" 2>&1 || fail "building the rig failed: see $LOGS/rig.log"
}

build_initramfs() {
    rebuild_when_changed initramfs pack_initramfs -- "$BOARD/guest/init" "$BOARD/host/image.sh"
}

pack_initramfs() {
    local root=$CACHE/root release program
    release=$(cat "$CACHE/kernel/release")
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,host,lib,proc,sys,tmp,usr/bin,usr/sbin,usr/lib}
    cp "$CACHE/userland/usr/bin/busybox" "$root/bin/"
    cp "$BOARD/guest/init" "$root/init"
    for program in $GUEST_PROGRAMS; do
        cp "$CACHE/userland/usr/$program" "$root/usr/$program"
        copy_libraries "$root" "$CACHE/userland/usr/$program" "$CACHE/userland"
    done
    cp -L "$CACHE/userland/usr/lib/ld-linux-aarch64.so.1" "$root/lib/"
    copy_modules "$root" "$release"
    (cd "$root" && find . -mindepth 1 | tool cpio --quiet -o -H newc -R 0:0) > "$CACHE/initramfs.cpio"
    rm -rf "$root"
}

# copy_libraries ROOT PROGRAM FROM: the libraries that an aarch64 program names, and those that they name.
copy_libraries() {
    local root=$1 from=$3 name library
    for name in $(readelf -d "$2" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        if [ -e "$root/usr/lib/$name" ]; then continue; fi
        library=$(find "$from/usr/lib" -name "$name" | head -n 1)
        [ -n "$library" ] || fail "$2 needs $name, which was not fetched"
        cp -L "$library" "$root/usr/lib/"
        copy_libraries "$root" "$library" "$from"
    done
}

copy_modules() {
    local root=$1 release=$2 from=$CACHE/kernel/lib/modules/$2 to=$1/lib/modules/$2 name path
    mkdir -p "$to"
    for name in $GUEST_MODULES; do
        grep -E "/$name\.ko(\.xz)?:" "$from/modules.dep" || fail "the kernel has no module $name"
    done | tr -d : | tr ' ' '\n' | sort -u > "$CACHE/modules"
    while read -r path; do
        mkdir -p "$to/$(dirname "$path")"
        xz -dc "$from/$path" > "$to/${path%.xz}"
    done < "$CACHE/modules"
    cp "$from"/modules.{builtin,builtin.modinfo,order} "$to/"
    tool depmod -b "$root" "$release"
}

# fill_share NAME...: the folder that the guest mounts, or that goes to a robot.
fill_share() {
    rm -rf "$SHARE"
    mkdir -p "$SHARE"/{bin,artefacts}
    cp -r "$BOARD/scenarios" "$BOARD/guest/lib.sh" "$BOARD/guest/run-scenarios" "$SHARE/"
    cp "$CACHE"/bin/* "$SHARE/bin/"
    if [ ${#PROGRAMS[@]} -gt 0 ]; then
        cp "${PROGRAMS[@]}" "$SHARE/bin/"
    fi
    printf '%s\n' "$@" > "$SHARE/plan"
}
