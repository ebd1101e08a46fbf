SUMMARY = "The camera service"
SUMMARY:${PN}-debug = "Tools to look into the camera service"
DESCRIPTION = "What a robot needs to stream its camera, and (in -debug) what a person needs to find out why it does not."
SECTION = "multimedia"

inherit packagegroup

PACKAGES = "${PN} ${PN}-debug"

RDEPENDS:${PN} = "rovercast"

# v4l-utils comes with meta-oe; an image without that layer would fail on it.
RDEPENDS:${PN}-debug = "strace \
                        ${@bb.utils.contains('BBFILE_COLLECTIONS', 'openembedded-layer', 'v4l-utils', '', d)}"
