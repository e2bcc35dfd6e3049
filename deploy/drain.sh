#!/bin/sh
# Drains Sluice until nothing is due: calls the drain once more, a second later, as long as its
# response has `"again":true`. Prints each response, a line of JSON. If a call fails, the exit
# status is that of curl: 22 for an HTTP status of 400 or more.
#
# The environment has SLUICE_URL, and the operator's token in OPERATOR_TOKEN or
# SPIN_VARIABLE_OPERATOR_TOKEN. DRAIN_SECONDS (300) after the start, no further call begins: the
# timer starts the script again.
set -u
url=${SLUICE_URL:?}/api/v2/deliveries/drain
token=${OPERATOR_TOKEN:-${SPIN_VARIABLE_OPERATOR_TOKEN:?}}
end=$(($(date +%s) + ${DRAIN_SECONDS:-300}))
while :; do
    # The token is passed on standard input, so process lists don't show it. A pass takes up to
    # 25 s plus one attempt.
    response=$(printf 'Authorization: Bearer %s' "$token" |
        curl --silent --show-error --fail-with-body --max-time 60 --request POST --header @- "$url")
    status=$?
    printf '%s\n' "$response"
    [ "$status" -eq 0 ] || exit "$status"
    case $response in
        *'"again":true'*) ;;
        *) exit 0 ;;
    esac
    [ "$(date +%s)" -lt "$end" ] || exit 0
    sleep 1
done
