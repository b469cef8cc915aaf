#!/bin/sh
# ./run.sh RESULTS.json [--authors FILE.py] [--budget SECONDS] [--only STEP,...] [--skip STEP,...] [--rehearse]
# The steps are those of plan.mjs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
results=${1:?usage: run.sh RESULTS.json [--authors FILE.py] [--budget SECONDS] [--only STEP,...] [--skip STEP,...]}
shift
exec "$here/bin/node" "$here/device.mjs" "$results" "$@"
