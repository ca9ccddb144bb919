#!/bin/sh
# Runs the development task "format-all"; --help tells its options.
set -eu
. "$(dirname "$0")/lib/dev.sh"
dev format-all "$@"
