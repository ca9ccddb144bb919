# What the .sh scripts share: dev TASK [OPTION...] runs a task of shared/cmd/dev.
# The program is built and then takes this shell's place, rather than run by
# `go run`, which would stand between it and signals and lose its exit code.

dev() {
	root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
	if ! command -v go >/dev/null 2>&1; then
		echo "Go is missing: install 1.26 or newer from https://go.dev/dl/ (or with your package manager) and try again." >&2
		exit 1
	fi
	(cd "$root" && go build -o bin/dev ./shared/cmd/dev) || exit 1
	exec "$root/bin/dev" "$@"
}
