#!/bin/sh
# ./run.sh CALL RESULTS.json [--authors FILE.py] [--only STEP,...] [--skip STEP,...] [--budget SECONDS] [--rehearse]
# CALL is A, B or C of plan.py.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec "${PYTHON:-python3}" "$here/run.py" "$@"
