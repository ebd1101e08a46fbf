# Probe finds the devices, tries each camera with each encoder, says who is in the way, and reads back what it wrote.
# needs: vivid vh264enc rovercast
# deadline: 180 s
# shellcheck shell=dash

probe() {
    rovercast probe --size 320x240 --fps 15 "$@"
}

load_vivid allocators=1
load_encoder
camera=$(camera)
encoder=$(encoder)

probe --write measured/virtual.toml > table.txt
cat table.txt measured/virtual.toml
assert "$(grep -c "^  $camera .*(vivid)$" table.txt)" = 1
assert "$(grep -c "^  $encoder .*(vh264enc)$" table.txt)" = 1
assert "$(grep -c 'profile virtual (Virtual encoder)' table.txt)" = 1
assert "$(grep -c 'has FORCE_KEY_FRAME, BITRATE,' table.txt)" = 1
assert "$(grep -c "^  $camera → $encoder .*320x[0-9]* NV12, encoder-export: .* nothing copied$" table.txt)" = 1
assert "$(grep -c "^  $camera → software .*320x[0-9]* .* frames/s" table.txt)" = 1

# What was measured lies over what is built in, and shows.
probe --list --profiles measured --json > list.json
assert "$(grep -c '"problems": \[\]' list.json)" = 1
printf 'kind = "board"\nid = "virtual"\nfast = true\n' > measured/wrong.toml
probe --list --profiles measured > wrong.txt
assert "$(grep -c 'measured/wrong.toml:3:1: fast: unknown key' wrong.txt)" = 1

# Without the control a request for a key frame must take another way.
load_encoder no_force_key=1
probe --list > table.txt
assert "$(grep -c 'has BITRATE,' table.txt)" = 1

# Somebody else streams.
load_encoder
start busy rig encode "$(encoder)" --camera "$camera" --frames 100000
wait_for 20 test -s "/proc/$(cat busy.pid)/stat"
sleep 2
probe > busy.txt
cat busy.txt
assert "$(grep -c "$camera → .* in use.*: it is open in rig (process" busy.txt)" -ge 1
stop busy

# A user who may not open them.
chmod 600 "$camera" "$(encoder)"
