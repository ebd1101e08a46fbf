# Opt-in, so that the layer alone changes no kernel: a product says DISTROOVERRIDES .= ":rovercast-kernel".
FILESEXTRAPATHS:prepend:rovercast-kernel := "${THISDIR}/../../../../board/kernel:"

SRC_URI:append:rovercast-kernel = " file://rovercast.cfg"
SRC_URI:append:rovercast-kernel:qemuarm64 = " file://rovercast-virtual.cfg"
