# shellcheck shell=bash
# Fetches what the virtual board is made of into $CACHE, through an apt root of its own: nothing on the
# machine is installed, upgraded or replaced. Sourced by ../run; uses say, fail, CACHE, LOGS.
#
#   $CACHE/apt/host   apt's state for amd64 packages of bookworm and bookworm-backports
#   $CACHE/apt/guest  apt's state for arm64 packages of trixie
#   $CACHE/tools      QEMU, cpio and kmod with all their libraries, run with their own loader
#   $CACHE/kernel     arm64 kernel, modules, headers, kbuild
#   $CACHE/userland   busybox, v4l-utils, iproute2 and their libraries, arm64

# Raised when what is fetched, or how it is laid out, changes: caches of another number are made anew.
RECIPE=2
# The series whose v4l2-mem2mem interface vh264enc is written for.
KERNEL_SERIES=6.12
# bookworm's own QEMU cannot stand beside a qemu-utils of bookworm-backports, and bookworm's v4l-utils 1.22 is too old
# for the 6.12 kernel: its compliance test reports six failures that 1.30 does not.
HOST_SUITES="bookworm bookworm-backports bookworm-security"
GUEST_SUITES="trixie"

fetch_packages() {
    if [ "$(cut -d' ' -f1 "$CACHE/fetched" 2> /dev/null)" = $RECIPE ] && [ -z "$REFRESH" ]; then
        return
    fi
    require_bookworm
    say "fetching QEMU, kernel and tools into $CACHE (once, a few minutes)"
    prepare_apt host "$HOST_SUITES" amd64 arm64
    prepare_apt guest "$GUEST_SUITES" arm64
    # Only now that the mirror has answered: without a network, an older cache is better than none.
    rm -f "$CACHE/fetched"
    fetch_tools
    fetch_kernel
    fetch_userland
    rm -rf "$CACHE/apt"
    echo "$RECIPE $(cat "$CACHE/kernel/release") $(date +%s)" > "$CACHE/fetched"
}

require_bookworm() {
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [ "$codename" = bookworm ] || fail "parts are fetched on Debian 12 (bookworm) alone; this is '$codename'"
}

# prepare_apt NAME SUITES ARCHITECTURE...: an apt root with the machine's own mirrors and proxy settings, and an
# empty list of installed packages, so that apt names every library that a package needs.
prepare_apt() {
    local name=$1 suites=$2 root=$CACHE/apt/$1 suite
    shift 2
    mkdir -p "$root"/{state/lists/partial,cache/archives/partial,etc}
    : > "$root/state/status"
    : > "$root/etc/sources.list"
    for suite in $suites; do
        sources_line "$suite" >> "$root/etc/sources.list"
    done
    cat > "$root/apt.conf" <<CONF
Dir::State "$root/state";
Dir::State::status "$root/state/status";
Dir::Cache "$root/cache";
Dir::Etc::sourcelist "$root/etc/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "$1";
#clear APT::Architectures;
APT::Architectures { $(printf '"%s"; ' "$@")};
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
#clear APT::Default-Release;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
CONF
    private_apt "$name" apt-get update
}

# The machine's own mirror for bookworm carries every suite of the archive but the security ones.
sources_line() {
    local suite=$1 like mirror
    case $suite in *-security) like=bookworm-security ;; *) like=bookworm ;; esac
    # shellcheck disable=SC2016 # apt expands them
    mirror=$(apt-get indextargets 'Created-By: Packages' --format '$(RELEASE) $(CODENAME) $(COMPONENT) $(REPO_URI)' |
        awk -v suite=$like '($1 == suite || $2 == suite) && $3 == "main" { print $4; exit }')
    if [ -n "$mirror" ]; then
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
    elif [ "$like" = bookworm ]; then
        fail "no apt source for bookworm main is configured on this machine"
    fi
}

private_apt() {
    local name=$1 program=$2
    shift 2
    "$program" -c "$CACHE/apt/$name/apt.conf" -q "$@" >> "$LOGS/fetch.log" 2>&1 ||
        fail "$program $1 failed: see $LOGS/fetch.log"
}

# unpack_with_dependencies NAME SUITE FOLDER PACKAGE...
unpack_with_dependencies() {
    local name=$1 suite=$2 folder=$3 archives=$CACHE/apt/$1/cache/archives
    shift 3
    rm -f "$archives"/*.deb
    private_apt "$name" apt-get install --download-only --yes -t "$suite" "$@"
    unpack "$archives" "$folder"
}

# unpack_exactly NAME FOLDER PACKAGE...: these packages and none of what they depend on.
unpack_exactly() {
    local name=$1 folder=$2 archives=$CACHE/apt/$1/cache/archives
    shift 2
    rm -f "$archives"/*.deb
    (cd "$archives" && private_apt "$name" apt-get download "$@")
    unpack "$archives" "$folder"
}

unpack() {
    local deb
    rm -rf "$2"
    mkdir -p "$2"
    for deb in "$1"/*.deb; do
        dpkg-deb --extract "$deb" "$2"
    done
    rm -f "$1"/*.deb
}

fetch_tools() {
    unpack_with_dependencies host bookworm-backports "$CACHE/tools" qemu-system-arm kmod cpio
}

fetch_kernel() {
    local image release common kbuild
    image=$(apt-cache -c "$CACHE/apt/host/apt.conf" pkgnames "linux-image-$KERNEL_SERIES" |
        grep -E "^linux-image-$KERNEL_SERIES\.[0-9.]+\+deb12-arm64(:arm64)?$" | sed 's/:arm64$//' | sort -uV | tail -n 1)
    [ -n "$image" ] || fail "the mirror has no linux-image-$KERNEL_SERIES*+deb12-arm64"
    release=${image#linux-image-}
    common=linux-headers-${release%-arm64}-common
    kbuild=linux-kbuild-${release%-arm64}
    unpack_exactly host "$CACHE/kernel" "$image:arm64" "linux-headers-$release:arm64" "$common" "$kbuild:amd64"
    # The headers' one-line Makefile points at the place where dpkg would have put the common part.
    sed -i "s#/usr/src/#$CACHE/kernel/usr/src/#" "$CACHE/kernel/usr/src/linux-headers-$release/Makefile"
    # With vmlinux in place the module build wants pahole, for type information that nobody reads here.
    rm -f "$CACHE/kernel/usr/src/linux-headers-$release/vmlinux"
    tool depmod -b "$CACHE/kernel" "$release"
    echo "$release" > "$CACHE/kernel/release"
}

fetch_userland() {
    unpack_with_dependencies guest trixie "$CACHE/userland" busybox-static v4l-utils iproute2
}

# tool PROGRAM ARGUMENT...: runs a program of $CACHE/tools with the libraries it was fetched with.
tool() {
    local name=$1 program
    program=$(tool_path "$1")
    shift
    "$CACHE/tools/lib64/ld-linux-x86-64.so.2" --library-path "$(tool_libraries)" --argv0 "$name" \
        "$program" "$@"
}

tool_path() {
    local folder path
    for folder in usr/bin usr/sbin bin sbin; do
        path=$CACHE/tools/$folder/$1
        if [ -L "$path" ]; then
            path=$CACHE/tools/$(readlink "$path")  # kmod's links are absolute: depmod -> /bin/kmod
        fi
        if [ -e "$path" ]; then
            echo "$path"
            return
        fi
    done
    fail "no $1 in $CACHE/tools: run again with --refresh"
}

tool_libraries() {
    echo "$CACHE/tools/usr/lib/x86_64-linux-gnu:$CACHE/tools/lib/x86_64-linux-gnu"
}
