#!/bin/sh
# Runs the development task "dev-dashboard"; --help tells its options.
set -eu
. "$(dirname "$0")/lib/dev.sh"
dev dev-dashboard "$@"
