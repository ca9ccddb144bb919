package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/orchion/orchion/shared/cmd/dev/internal/program"
)

// installPackages installs the Debian packages that are not there yet. Where it
// cannot, because the system has no apt or we are not root, it does nothing:
// what needs the packages says better what is missing.
func installPackages(ctx context.Context, log io.Writer, names ...string) error {
	if os.Geteuid() != 0 || !program.Found("apt-get") {
		return nil
	}
	var missing []string
	for _, name := range names {
		status, err := program.Output(ctx, program.Command{Name: "dpkg-query", Args: []string{"-W", "-f", "${Status}", name}})
		if err != nil || !strings.HasSuffix(status, " installed") {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Fprintln(log, "installing", strings.Join(missing, " "))
	apt := func(args ...string) error {
		return program.Run(ctx, program.Command{
			Name: "apt-get", Args: append([]string{"-q", "-o", "DPkg::Lock::Timeout=500"}, args...),
			Env: []string{"DEBIAN_FRONTEND=noninteractive"}, Stdout: log, Stderr: log,
		})
	}
	// Without lists a fresh image knows no package at all.
	if err := apt("update"); err != nil {
		return err
	}
	return apt(append([]string{"install", "-y", "--no-install-recommends"}, missing...)...)
}
