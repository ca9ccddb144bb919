package agent

import (
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/orchion/orchion/node-agent/internal/ownfile"
	"github.com/orchion/orchion/node-agent/internal/policy"
	"github.com/orchion/orchion/node-agent/internal/registries"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// named gives a file's path and whether it must be there: it must when it was named.
func named(given, dataDir, usual string) (path string, required bool) {
	if given != "" {
		return given, true
	}
	return filepath.Join(dataDir, usual), false
}

// openPolicy reads the policy file; the error is a *SettingError.
func openPolicy(cfg Config) (*ownfile.File[*policy.Policy], error) {
	path, required := named(cfg.Policy, cfg.DataDir, PolicyFile)
	file, err := policy.Open(path, required, cfg.Logger)
	if err != nil {
		return nil, wrong("policy", "cannot be used: %v", err)
	}
	return file, nil
}

// openRegistries reads the file of credentials; the error is a *SettingError.
func openRegistries(cfg Config) (*ownfile.File[*registries.Credentials], error) {
	path, required := named(cfg.Registries, cfg.DataDir, RegistriesFile)
	file, err := registries.Open(path, required, cfg.Logger)
	if err != nil {
		return nil, wrong("registries", "cannot be used: %v", err)
	}
	return file, nil
}

// owned puts into capabilities what the machine's owner says in files, as far as the
// orchestrator is told: names, and what they stand for.
func (a *Agent) owned(c *orchionv1.Capabilities) {
	c.Processes, c.RegistryCredentials = nil, nil
	for _, allowed := range a.policy.Current().Processes {
		c.Processes = append(c.Processes, &orchionv1.AllowedProcess{Name: allowed.Name, Path: allowed.Path})
	}
	for _, held := range a.registries.Current().Names() {
		c.RegistryCredentials = append(c.RegistryCredentials, &orchionv1.RegistryCredentials{Name: held.Name, Registry: held.Registry})
	}
}

// offerOwned registers the node anew with what its owner's files say now.
func (n *node) offerOwned() {
	n.mu.Lock()
	n.capabilities = proto.CloneOf(n.capabilities)
	n.owned(n.capabilities)
	n.mu.Unlock()
	n.membership.Renew()
}
