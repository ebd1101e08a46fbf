# An encoder that nothing helps is replaced by the software encoder while the program runs, and `status` says so.
# needs: rovercast vivid vh264enc
# deadline: 180 s
# shellcheck shell=dash

cat > rovercast.toml << 'TOML'
[robot]
id = "board"

[[camera]]
id = "front"
source = "auto"
size = "320x180"
fps = 10
keep_warm = true

[http]
listen = "127.0.0.1:8081"
TOML

# says TEXT: status has it. It asks anew.
says() {
    rovercast status > status.txt 2>&1 && grep -q "$1" status.txt
}

# The stream goes on: the counter of units moves.
units() {
    wget -q -O - http://127.0.0.1:8081/metrics | sed -n 's/^rovercast_encoder_frames_total{.*} //p'
}
moves() {
    moves_from=$(units)
    sleep 1
    [ "$(units)" -gt "$moves_from" ]
}

load_vivid allocators=1
load_encoder allocators=1
start rovercast rovercast run --config rovercast.toml
wait_for 30 says 'encoder: vh264enc (/dev/video1)'
wait_for 30 moves
says 'picture_path: encoder-export' || fail "no encoder-export: $(cat status.txt)"
says 'copied_bytes_per_frame: 0' || fail "copies: $(cat status.txt)"
# From outside: coded buffers alone are mapped (100 KiB each), no raw picture (88 KiB).
grep /dev/video "/proc/$(cat rovercast.pid)/maps" > maps.txt || true
cat maps.txt
assert "$(grep -c /dev/video0 maps.txt)" = 0

# Wedged for good.
quirk stall_cure 4
quirk stall_after 5
wait_for 40 says 'encoder: openh264'
wait_for 20 moves
says 'state: running' || fail "not running: $(cat status.txt)"

# The camera goes and comes back; the encoder is well again, and still left alone.
quirk stall_cure 1
echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind
wait_for 20 says 'state: waiting'
echo vivid.0 > /sys/bus/platform/drivers/vivid/bind
wait_for 30 says 'state: running'
wait_for 20 moves

# Half a minute later the next start tries the hardware.
sleep 30
echo vivid.0 > /sys/bus/platform/drivers/vivid/unbind
wait_for 20 says 'state: waiting'
echo vivid.0 > /sys/bus/platform/drivers/vivid/bind
wait_for 30 says 'encoder: vh264enc'
wait_for 20 moves
stop rovercast
cat rovercast.log
