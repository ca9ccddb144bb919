package api

import (
	"regexp"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/job"
	"github.com/orchion/orchion/orchestrator/internal/node"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// How many programs a node's policy may allow, and how many credentials it may hold.
const (
	maxProcesses   = 256
	maxCredentials = 256
)

var (
	// policyName is how a node's policy names what it allows.
	policyName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	// windowsPath begins an absolute path on Windows.
	windowsPath = regexp.MustCompile(`^[A-Za-z]:[\\/]`)
)

// isAbsolute says whether a path is absolute on some operating system: the node
// may run another than this machine.
func isAbsolute(path string) bool {
	return strings.HasPrefix(path, "/") || windowsPath.MatchString(path)
}

// checkPolicyName checks a name that the owner of a node gave to something there.
func checkPolicyName(field, name string) error {
	if !policyName.MatchString(name) {
		return fault.BadField(field, "is %q; a name is 1 to 63 characters of A-Z a-z 0-9 . _ -, starting with a letter or digit", clip(name))
	}
	return nil
}

// processFromProto checks and reads a program to run on a node itself. Whether
// it may only that node's policy says.
func processFromProto(field string, p *orchionv1.ProcessSpec) (*job.Process, error) {
	command := p.GetCommand()
	if err := checkRequired(field+".command", command, maxPath); err != nil {
		return nil, err
	}
	if !isAbsolute(command) && !policyName.MatchString(command) {
		return nil, fault.BadField(field+".command",
			"is %q; it must be a name in the policy of a node, 1 to 63 characters of A-Z a-z 0-9 . _ -, or an absolute path", clip(command))
	}
	if err := checkArguments(field+".args", p.GetArgs()); err != nil {
		return nil, err
	}
	if err := checkEnv(field+".env", p.GetEnv()); err != nil {
		return nil, err
	}
	if dir := p.GetWorkingDir(); dir != "" {
		if err := checkText(field+".workingDir", dir, maxPath); err != nil {
			return nil, err
		}
		if !isAbsolute(dir) {
			return nil, fault.BadField(field+".workingDir", "is %q; it must be an absolute path", clip(dir))
		}
	}
	if err := checkModels(field+".models", p.GetModels()); err != nil {
		return nil, err
	}
	grace, err := duration(field+".stopGrace", p.GetStopGrace(), minTimeout, maxStopGrace)
	if err != nil {
		return nil, err
	}
	return &job.Process{
		Command: command, Args: p.GetArgs(), Env: p.GetEnv(), WorkingDir: p.GetWorkingDir(),
		StopGrace: grace, Models: p.GetModels(),
	}, nil
}

func processToProto(p *job.Process) *orchionv1.ProcessSpec {
	out := &orchionv1.ProcessSpec{
		Command: p.Command, Args: p.Args, Env: p.Env, WorkingDir: p.WorkingDir, Models: p.Models,
	}
	if p.StopGrace > 0 {
		out.StopGrace = durationpb.New(p.StopGrace)
	}
	return out
}

// processesFromProto checks and reads what a node's policy allows.
func processesFromProto(field string, list []*orchionv1.AllowedProcess) ([]node.AllowedProcess, error) {
	if err := checkCount(field, len(list), maxProcesses); err != nil {
		return nil, err
	}
	var processes []node.AllowedProcess
	for i, p := range list {
		at := indexed(field, i)
		if err := checkPolicyName(at+".name", p.GetName()); err != nil {
			return nil, err
		}
		if err := checkText(at+".path", p.GetPath(), maxPath); err != nil {
			return nil, err
		}
		if !isAbsolute(p.GetPath()) {
			return nil, fault.BadField(at+".path", "is %q; it must be an absolute path", clip(p.GetPath()))
		}
		processes = append(processes, node.AllowedProcess{Name: p.GetName(), Path: p.GetPath()})
	}
	return processes, nil
}

// credentialsFromProto checks and reads which credentials a node holds.
func credentialsFromProto(field string, list []*orchionv1.RegistryCredentials) ([]node.RegistryCredentials, error) {
	if err := checkCount(field, len(list), maxCredentials); err != nil {
		return nil, err
	}
	var credentials []node.RegistryCredentials
	for i, r := range list {
		at := indexed(field, i)
		if err := checkPolicyName(at+".name", r.GetName()); err != nil {
			return nil, err
		}
		if err := checkRequired(at+".registry", r.GetRegistry(), maxText); err != nil {
			return nil, err
		}
		credentials = append(credentials, node.RegistryCredentials{Name: r.GetName(), Registry: r.GetRegistry()})
	}
	return credentials, nil
}
