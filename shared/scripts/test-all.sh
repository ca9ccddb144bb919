#!/bin/sh
# Runs the development task "test-all"; --help tells its options.
set -eu
. "$(dirname "$0")/lib/dev.sh"
dev test-all "$@"
