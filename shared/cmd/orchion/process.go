package main

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// one is wrong use unless exactly one kind of job is named.
func one(kinds ...string) error {
	if named := slices.DeleteFunc(kinds, func(name string) bool { return name == "" }); len(named) == 1 {
		return nil
	}
	return usagef("name either a container's image with --image or a model with --chat or a program with --process, or a file with -f")
}

// containersOnly are the flags about what only a container has.
var containersOnly = []string{"command", "pull", "registry-credentials", "user", "input", "volume", "tmpfs", "shm"}

// processKind is a program of the node as the flags describe it.
func (s *submission) processKind(cmd *cobra.Command, args []string) (*orchionv1.JobSpec_Process, error) {
	var wrong error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if slices.Contains(containersOnly, f.Name) && wrong == nil {
			wrong = usagef("--%s does not go with --process: only a container has that", f.Name)
		}
	})
	if wrong != nil {
		return nil, wrong
	}
	env, err := keyValues("env", s.env)
	if err != nil {
		return nil, err
	}
	process := &orchionv1.ProcessSpec{Command: s.process, Args: args, Env: env, WorkingDir: s.workdir, Models: s.models}
	if s.stopGrace != 0 {
		process.StopGrace = durationpb.New(s.stopGrace)
	}
	return &orchionv1.JobSpec_Process{Process: process}, nil
}
