SUMMARY = "Robot that streams its camera"
DESCRIPTION = "Small systemd image with a read-only root file system that boots into the camera service."

require robot-image.inc

IMAGE_FEATURES += "read-only-rootfs"
