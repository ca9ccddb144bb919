#!/bin/sh
# Runs the development task "proto-gen"; --help tells its options.
set -eu
. "$(dirname "$0")/lib/dev.sh"
dev proto-gen "$@"
