# shellcheck shell=bash
# A network between the board and this machine, and who else is on it: rovercast's own relay with TLS, and a Chromium that watches
# through it. Sourced by ../run; uses say, fail, ROOT, BOARD_LOGS, NUMBER, SHARE.
#
# Without it the board is behind QEMU's user network, where a peer sees other addresses than the board does. This one has the same
# addresses, in a network namespace of its own, so that the board needs not know which it is in.

BOARD_ADDRESS=10.0.2.15
HOST_ADDRESS=10.0.2.2
# What is put before a command that runs in it; nothing where there is none.
IN_NETWORK=()

# open_network: when it cannot, scenarios that need it are skipped, with what it says.
open_network() {
    local program
    for program in ip openssl chromedriver; do
        command -v $program > /dev/null || { say "no network for the board: there is no $program" && return; }
    done
    NETWORK=rovercast-board-$$-$NUMBER
    if ! ip netns add "$NETWORK" 2> "$BOARD_LOGS/network.log"; then
        say "no network for the board: a network namespace needs root ($(head -n 1 "$BOARD_LOGS/network.log"))"
        NETWORK=''
        return
    fi
    if ! { ip -n "$NETWORK" link set lo up && ip -n "$NETWORK" tuntap add dev tap0 mode tap &&
        ip -n "$NETWORK" addr add $HOST_ADDRESS/24 dev tap0 && ip -n "$NETWORK" link set tap0 up; } 2> "$BOARD_LOGS/network.log"; then
        say "no network for the board: no tap device can be made ($(head -n 1 "$BOARD_LOGS/network.log"))"
        return
    fi
    IN_NETWORK=(ip netns exec "$NETWORK")
    start_relay
    start_browser
    cat >> "$SHARE/environment" << ENVIRONMENT
NETWORK=yes
ROVERCAST_BROWSER=$HOST_ADDRESS:$BROWSER_PORT
ROVERCAST_BROWSER_TRUSTS=$(key_digest)
ROVERCAST_RELAY=$HOST_ADDRESS:$RELAY_PORT
ROVERCAST_RELAY_CA=\$BOARD/relay-ca.pem
ENVIRONMENT
}
RELAY_PORT=8443
BROWSER_PORT=9515

start_relay() {
    local relay=$ROOT/target/debug/rovercast
    say "building the relay"
    (cd "$ROOT" && cargo build --locked --bin rovercast) 2>> "$BOARD_LOGS/build.log" || fail "the relay does not build: see $BOARD_LOGS/build.log"
    make_certificate 2>> "$BOARD_LOGS/network.log" || fail "no certificate for the relay: see $BOARD_LOGS/network.log"
    "${IN_NETWORK[@]}" "$relay" relay --listen "$HOST_ADDRESS:$RELAY_PORT" --tls-cert "$BOARD_LOGS/relay.pem" --tls-key "$BOARD_LOGS/relay.key" \
        > "$BOARD_LOGS/relay.log" 2>&1 < /dev/null 9>&- &
    disown
}

# An authority, which the robot is told to trust, and what it has signed for the relay's address.
make_certificate() {
    local new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2)
    "${new[@]}" -subj '/CN=virtual board' -keyout "$BOARD_LOGS/ca.key" -out "$SHARE/relay-ca.pem" &&
        "${new[@]}" -subj '/CN=relay' -CA "$SHARE/relay-ca.pem" -CAkey "$BOARD_LOGS/ca.key" -addext basicConstraints=CA:FALSE \
            -addext "subjectAltName=IP:$HOST_ADDRESS" -keyout "$BOARD_LOGS/relay.key" -out "$BOARD_LOGS/relay.pem"
}

# What Chromium calls a key by: it has no option for one more authority, but one for keys that need none.
key_digest() {
    openssl x509 -in "$BOARD_LOGS/relay.pem" -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64
}

# Driven from the board: there the tests know what the robot just did.
start_browser() {
    "${IN_NETWORK[@]}" chromedriver --port=$BROWSER_PORT --allowed-ips=$BOARD_ADDRESS --allowed-origins='*' \
        > "$BOARD_LOGS/chromedriver.log" 2>&1 < /dev/null 9>&- &
    disown
}

# With all that is still running in it.
close_network() {
    if [ -n "${NETWORK:-}" ]; then
        ip netns pids "$NETWORK" | xargs -r kill -9 || true
        ip netns del "$NETWORK"
    fi
}
