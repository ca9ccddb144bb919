#!/bin/sh
# Runs the development task "setup-all"; --help tells its options.
set -eu
. "$(dirname "$0")/lib/dev.sh"
dev setup-all "$@"
