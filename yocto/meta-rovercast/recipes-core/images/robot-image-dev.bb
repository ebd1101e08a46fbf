SUMMARY = "Robot that streams its camera, for the bench"
DESCRIPTION = "robot-image with root without a password, debug tools and on-board tests. Not for robots that leave the bench."

require robot-image.inc

# nooelint: oelint.var.badimagefeature - what robot-image must not have is what a bench needs; the description says so
IMAGE_FEATURES += "allow-empty-password allow-root-login empty-root-password ptest-pkgs tools-debug"
IMAGE_INSTALL += "packagegroup-rovercast-debug ptest-runner"
