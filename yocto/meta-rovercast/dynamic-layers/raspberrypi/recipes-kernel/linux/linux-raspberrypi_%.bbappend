# Opt-in as for linux-yocto.
FILESEXTRAPATHS:prepend:rovercast-kernel := "${THISDIR}/../../../../../../board/kernel:"

SRC_URI:append:rovercast-kernel = " file://rovercast.cfg file://rovercast-raspberrypi.cfg"
