#!/bin/sh
# Runs the development task "clean-all"; --help tells its options.
set -eu
. "$(dirname "$0")/lib/dev.sh"
dev clean-all "$@"
