#!/bin/sh
# Runs the development task "run-all"; --help tells its options.
set -eu
. "$(dirname "$0")/lib/dev.sh"
dev run-all "$@"
