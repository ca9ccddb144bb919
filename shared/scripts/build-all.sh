#!/bin/sh
# Runs the development task "build-all"; --help tells its options.
set -eu
. "$(dirname "$0")/lib/dev.sh"
dev build-all "$@"
