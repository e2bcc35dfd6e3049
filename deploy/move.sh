#!/bin/sh
# Moves all records from the store that was in use before, named by the variable move_from, to the
# one in use. Prints each response, a line of JSON. If a call fails, the exit status is that of
# curl: 22 for an HTTP status of 400 or more. It is safe to run it again.
#
# The environment has SLUICE_URL, and the operator's token in OPERATOR_TOKEN or
# SPIN_VARIABLE_OPERATOR_TOKEN.
set -u
url=${SLUICE_URL:?}/api/v2/move?limit=500
token=${OPERATOR_TOKEN:-${SPIN_VARIABLE_OPERATOR_TOKEN:?}}
after=
while :; do
    # The token is passed on standard input, so process lists don't show it.
    response=$(printf 'Authorization: Bearer %s' "$token" |
        curl --silent --show-error --fail-with-body --max-time 60 --request POST --header @- "$url$after")
    status=$?
    printf '%s\n' "$response"
    [ "$status" -eq 0 ] || exit "$status"
    # Letters, digits, and the characters `:`, `.` and `/`, which a query may contain.
    next=$(printf '%s' "$response" | sed -n 's/.*"next":"\([^"]*\)".*/\1/p')
    [ -n "$next" ] || exit 0
    after="&after=$next"
done
