#!/bin/sh
# Runs the development task "lint-all"; --help tells its options.
set -eu
. "$(dirname "$0")/lib/dev.sh"
dev lint-all "$@"
