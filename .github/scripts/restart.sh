#!/bin/sh
# restart.sh COMMAND…: starts Sluice with the command, without an engine. Sends a webhook, which has to be accepted
# (202), ends the command, starts it again, and looks for the pending delivery. With the key-value store in memory, the
# second start has none. SLUICE_URL is where the command listens, http://127.0.0.1:3000 by default.
set -eu

export SPIN_VARIABLE_OPERATOR_TOKEN=restart-test
# Nothing listens there.
export SPIN_VARIABLE_ENGINE_URL=http://127.0.0.1:9
url=${SLUICE_URL:-http://127.0.0.1:3000}

start() {
    "$@" &
    process=$!
    # The first start may download and compile the component.
    curl --silent --show-error --fail --output /dev/null --retry 120 --retry-delay 1 --retry-all-errors "$url/healthz"
}

stop() {
    # Spin passes the signal on to its trigger, and ends with its status.
    kill -TERM "$process"
    wait "$process" || true
}

start "$@"
trap 'kill "$process" 2>/dev/null || true' EXIT
status=$(curl --silent --show-error --output /dev/null --write-out '%{http_code}' \
    --header 'content-type: application/json' --data '{"restart":true}' "$url/api/v2/webhook?ref=restart")
test "$status" = 202 || { echo "the webhook got $status in place of 202" >&2; exit 1; }
stop

start "$@"
pending=$(curl --silent --show-error --fail --header "authorization: Bearer $SPIN_VARIABLE_OPERATOR_TOKEN" \
    "$url/api/v2/deliveries?state=pending")
stop
case $pending in
*'"restart"'*) echo "the delivery was still there after a restart" ;;
*) echo "the delivery is lost after a restart: $pending" >&2; exit 1 ;;
esac
