# The stream follows a link that becomes narrow and wide again, and outlives a lossy one: tbf and netem here, a real Chromium behind them.
# needs: vivid vh264enc rovercast tests network
# when: asked
# wants: quiet
# deadline: 300 s
# shellcheck shell=dash

modprobe -a sch_tbf sch_netem
load_hdmi allocators=1
load_encoder allocators=1
ROVERCAST_CAMERA=$(camera) ROVERCAST_ENCODER=$(encoder)
export ROVERCAST_CAMERA ROVERCAST_ENCODER RUST_BACKTRACE=1
board-test --ignored --nocapture --test-threads=1 network::shaped_link
