SUMMARY = "Brings a robot's camera to a browser"
DESCRIPTION = "V4L2 camera to hardware H.264 to WebRTC, signalled through one outbound connection to a relay."
SECTION = "multimedia"
LICENSE = "Apache-2.0 | MIT"
LIC_FILES_CHKSUM = "file://LICENSE-APACHE;md5=86d3f3a95c324c9479bd8986968f4327 \
                    file://LICENSE-MIT;md5=747f1cd48308adf0507f0db3b9cd0143"
CVE_PRODUCT = "rovercast"
PV = "0.1.0+git"

require rovercast-crates.inc

# Layer and program are one repository, and one pin is enough for both: the commit that the layer is checked out at is built.
# Another copy of it, such as a mirror: ROVERCAST_URI = "git://git.example.com/rovercast.git;protocol=https;branch=main"
ROVERCAST_REPOSITORY = "${@os.path.realpath(d.getVar('THISDIR') + '/../../../..')}"
ROVERCAST_URI ?= "git://${ROVERCAST_REPOSITORY};protocol=file;nobranch=1"
SRC_URI += "${ROVERCAST_URI}"
SRCREV = "${@bb.process.run(['git', '-C', d.getVar('ROVERCAST_REPOSITORY'), 'rev-parse', 'HEAD'])[0].strip()}"
# The commit moves without any file changing that BitBake watches.
# nooelint: oelint.vars.mispell.unknown - BitBake's, see bb.cache
BB_DONT_CACHE = "1"

inherit cargo cargo-update-recipe-crates features_check ptest-cargo systemd useradd

REQUIRED_DISTRO_FEATURES = "systemd"

# OpenH264, for boards without an encoder of their own and as the fallback of those that have one.
PACKAGECONFIG ??= "software-encoder"
PACKAGECONFIG[software-encoder] = ",--no-default-features"

# Cargo.toml strips the symbols; here they go into rovercast-dbg.
export CARGO_PROFILE_RELEASE_STRIP = "none"
export CARGO_PROFILE_RELEASE_DEBUG = "line-tables-only"

SYSTEMD_SERVICE:${PN} = "rovercast.service"

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --no-create-home --home-dir /nonexistent --shell /sbin/nologin --user-group rovercast"

do_install:append() {
    install -D -m 0644 ${S}/board/systemd/rovercast.service ${D}${systemd_system_unitdir}/rovercast.service
    install -D -m 0644 ${S}/board/udev/70-rovercast.rules ${D}${nonarch_base_libdir}/udev/rules.d/70-rovercast.rules
    install -D -m 0644 ${S}/board/rovercast.toml ${D}${sysconfdir}/rovercast/rovercast.toml
}

# Unit tests only: the others drive a browser, or look for the source tree.
# nooelint: oelint.task.docstrings - a part of a task, not a task
keep_unit_tests() {
    sed -i '\,/rovercast-[0-9a-f]*$,!d' ${CARGO_TEST_BINARIES_FILES}
}
do_compile_ptest_cargo[postfuncs] += "keep_unit_tests"

FILES:${PN} += "${nonarch_base_libdir}/udev/rules.d ${systemd_system_unitdir}"
CONFFILES:${PN} = "${sysconfdir}/rovercast/rovercast.toml"

# Who vouches for the relay's certificate; what gives cameras to their group.
RDEPENDS:${PN} = "ca-certificates udev"
RRECOMMENDS:${PN} = "kernel-module-uvcvideo"
