# The encoder of Raspberry Pi 4 and older.
# nooelint: oelint.vars.specific - meta-raspberrypi sets this override, and the append is read with that layer only
RRECOMMENDS:${PN}:append:rpi = " kernel-module-bcm2835-codec"
