#!/bin/sh
# A replacement for Spin, to try `cargo xtask bench --spin bench/spin.sh` where Spin isn't installed. It takes the options
# of `spin up` that the benchmark needs and, as Spin does, runs the application in a child process, which it ends on
# SIGTERM only. SLUICE_HOST names the sluice-host that it runs.
set -u
if [ "$*" = --version ]; then
    echo "spin 0.0.0 (bench/spin.sh)"
    exit
fi
if [ $# -lt 7 ] || [ "$1 $2 $4 $6 ${8:---variable}" != "up --from --listen --state-dir --variable" ]; then
    echo "unexpected arguments: $*" >&2
    exit 2
fi
shift
"$SLUICE_HOST" "$@" &
trap 'kill $!' TERM
wait $!
