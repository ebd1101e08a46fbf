# Probe finds the devices, tries each camera with each encoder, says who is in the way, and reads back what it wrote.
# needs: vivid vh264enc rovercast
# deadline: 180 s
# shellcheck shell=dash

probe() {
    rovercast probe --size 320x240 --fps 15 "$@"
}

# shows PATTERN FILE
shows() {
    grep -q -e "$1" "$2" || fail "$2 does not show: $1"
}

load_vivid allocators=1
load_encoder
camera=$(camera)
encoder=$(encoder)

probe --log debug --write measured/virtual.toml > table.txt
cat table.txt measured/virtual.toml
shows "profile virtual (Virtual board (QEMU))" table.txt
shows "^  $camera .*(vivid)$" table.txt
shows "^    NV12: .* at \|^    .*NV12.*: .* at " table.txt
shows "^  $encoder .*(vh264enc)$" table.txt
shows "profile virtual (Virtual encoder)" table.txt
shows "has FORCE_KEY_FRAME, BITRATE," table.txt
shows "^  $camera → $encoder .* NV12, encoder-export: .* nothing copied$" table.txt
shows "^  $camera → software .* frames/s" table.txt

# What was measured lies over what is built in: this board's first choice is the last of the profile's.
sed -i 's/^path = .*/path = "camera-export"/' measured/virtual.toml
probe --profiles measured > table.txt
shows "^  $camera → $encoder .* NV12, camera-export: .* nothing copied$" table.txt
printf 'kind = "board"\nid = "virtual"\nfast = true\n' > measured/wrong.toml
probe --list --profiles measured > wrong.txt
shows "measured/wrong.toml:3:1: fast: unknown key" wrong.txt

# Memory that the encoder cannot reach.
rmmod vivid
load_vivid allocators=0
probe --profiles measured > scattered.txt
cat scattered.txt
shows "^  $camera → $encoder .* encoder-export: .* nothing copied$" scattered.txt

# Without the control a request for a key frame must take another way.
load_encoder no_force_key=1
probe --list > table.txt
shows "    has BITRATE," table.txt

# Somebody else streams.
start busy rig encode "$encoder" --camera "$camera" --frames 100000
sleep 3
probe > busy.txt
cat busy.txt
shows "$camera → .* in use.*: it is open in rig (process" busy.txt
stop busy

# A user who may not open them.
echo "nobody:x:65534:65534::/:/bin/sh" > /etc/passwd
echo "video:x:44:" > /etc/group
chown 0:44 "$camera" "$encoder"
chmod 660 "$camera"
chmod 600 "$encoder"
setuidgid nobody rovercast probe --list > forbidden.txt
cat forbidden.txt
shows "not in the group video: usermod -aG video USER" forbidden.txt
shows "only root may open it" forbidden.txt
