package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/node-agent/agent"
	"github.com/orchion/orchion/node-agent/internal/engine/ollama"
	"github.com/orchion/orchion/node-agent/internal/engine/vllm"
	"github.com/orchion/orchion/node-agent/internal/trim"
	"github.com/orchion/orchion/shared/settings"
	"github.com/orchion/orchion/shared/version"
)

const longHelp = `The node agent offers this machine to an Orchion orchestrator. It tells what the
machine can do, runs jobs in containers through Podman or Docker, serves models
with engines in containers, and lends out engines that run here already. It dials
the orchestrator; nothing needs to reach this machine.

Every flag can also be set by an environment variable (--data-dir is
ORCHION_DATA_DIR) and by a key in a YAML file (data-dir: /srv/orchion), which is
read from --config or, when it is there, from node-agent.yaml in the data
directory. A flag wins over the environment, and the environment over the file.

Ctrl-C or SIGTERM takes the node out of service: its jobs are stopped and go back
to the queue, the engines it started are removed, downloaded models stay. The
second Ctrl-C ends the agent at once and leaves everything running; the next start
takes it over.`

const examples = `  # Join the orchestrator on this machine
  node-agent

  # With labels that jobs can ask for, at most four jobs at once
  node-agent --labels room=office,disk=ssd --max-jobs 4

  # A second agent on the same machine
  node-agent --data-dir ~/.local/share/orchion/second --hostname second

  # Lend out a llama-server on another port, and use Docker though Podman is here
  node-agent --adopt http://127.0.0.1:9000 --runtime docker

  # What can this machine do?
  node-agent capabilities`

// flags are those that are not part of agent.Config.
type flags struct {
	configFile string
	logLevel   *choice
	logFormat  *choice
	runtime    *choice
}

// program is the command line: the configuration that it fills.
type program struct {
	cfg       agent.Config
	flags     flags
	lookupEnv func(string) (string, bool)
}

// newCommand makes the command; lookupEnv is os.LookupEnv but in tests.
func newCommand(lookupEnv func(string) (string, bool)) *cobra.Command {
	p := &program{
		cfg: agent.DefaultConfig(),
		flags: flags{
			logLevel:  newChoice("info", "debug", "info", "warn", "error"),
			logFormat: newChoice("text", "text", "json"),
			runtime:   newChoice(agent.RuntimeAuto, agent.Runtimes()...),
		},
		lookupEnv: lookupEnv,
	}
	root := &cobra.Command{
		Use:           "node-agent",
		Short:         "Offer this machine to an Orchion orchestrator",
		Long:          longHelp,
		Example:       examples,
		Version:       versionLine(),
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := p.agent(cmd)
			if err != nil {
				return err
			}
			trim.WhenSettled(cmd.Context())
			return a.Run(cmd.Context())
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	p.addFlags(root)
	root.AddCommand(p.capabilitiesCommand(), versionCommand())
	return root
}

func (p *program) addFlags(root *cobra.Command) {
	set := root.PersistentFlags()
	set.SortFlags = false
	cfg := &p.cfg
	set.StringVar(&cfg.Orchestrator, "orchestrator", cfg.Orchestrator, "host:port of the orchestrator's gRPC endpoint; only loopback for now")
	set.DurationVar(&cfg.HeartbeatInterval, "heartbeat-interval", cfg.HeartbeatInterval, "wished time between heartbeats, 1s to 10m; the orchestrator decides")
	set.StringVar(&cfg.NodeID, "node-id", "", "id of this node, kept in the data directory (default: made at the first start)")
	set.StringVar(&cfg.Hostname, "hostname", "", "name shown to people (default: this machine's)")
	set.StringVar(&cfg.DataDir, "data-dir", "", "folder that holds the node's id (default: this user's, "+shownDataDir()+")")
	set.StringToStringVar(&cfg.Labels, "labels", nil, "labels of this node, key=value[,key=value...]")
	set.StringSliceVar(&cfg.Taints, "taints", nil, "taints of this node, key[,key...]: work that does not tolerate them is not placed here")
	set.StringSliceVar(&cfg.Adopt, "adopt", nil, "URL of an OpenAI-compatible engine that runs here already, repeatable; none adopts nothing (default: well-known local ports are probed)")
	set.Var(p.flags.runtime, "runtime", "container engine to use: "+p.flags.runtime.list())
	set.StringVar(&cfg.Policy, "policy", "", "file that allows jobs to run programs on this machine itself (default: "+agent.PolicyFile+" in the data directory, if it is there)")
	set.StringVar(&cfg.Registries, "registries", "", "file with credentials for image registries that jobs may name (default: "+agent.RegistriesFile+" in the data directory, if it is there)")
	set.IntVar(&cfg.MaxJobs, "max-jobs", 0, "how many containers and processes of jobs run at once; 0 is twice the number of logical cores")
	set.IntVar(&cfg.ReadyNetworks, "ready-networks", cfg.ReadyNetworks, "how many networks are kept ready for jobs at most, so that their containers start sooner, 0 to 64; 0 is none")
	set.StringVar(&cfg.OllamaImage, "ollama-image", "", "container image of Ollama where a deployment names none, pinned by a tag or by @sha256:DIGEST (default: "+ollama.DefaultImage+")")
	set.StringVar(&cfg.VLLMImage, "vllm-image", "", "container image of vLLM where a deployment names none, likewise (default: "+vllm.DefaultImage+")")
	set.BoolVar(&cfg.KeepModels, "keep-models", false, "give no models to other nodes, and take none from them")
	set.Var(settings.NewBytes(&cfg.ModelRate), "model-rate", "how much of models is given to other nodes in a second at most; 0 is as much as goes")
	set.Var(settings.NewBytes(&cfg.LogRate), "log-rate", "how much of one job's log is sent in a second at most; 0 is as much as goes")
	set.Var(settings.NewBytes(&cfg.LogBuffer), "log-buffer", "how much of each job's output the container engine keeps until it is sent")
	set.DurationVar(&cfg.ShutdownTimeout, "shutdown-timeout", cfg.ShutdownTimeout, "how long a graceful end may take, 1s to 10m")
	set.Var(p.flags.logLevel, "log-level", "what is logged: "+p.flags.logLevel.list())
	set.Var(p.flags.logFormat, "log-format", "how it is logged: "+p.flags.logFormat.list())
	set.StringVar(&p.flags.configFile, "config", "", "YAML file with settings (default: "+agent.SettingsFile+" in the data directory, if it is there)")
}

// agent makes an agent as the command line, the environment and the file say.
func (p *program) agent(cmd *cobra.Command) (*agent.Agent, error) {
	if err := p.loadSettings(cmd); err != nil {
		return nil, err
	}
	p.cfg.Runtime = p.flags.runtime.value
	p.cfg.Logger = settings.NewLogger(cmd.ErrOrStderr(), p.flags.logLevel.value, p.flags.logFormat.value)
	a, err := agent.New(p.cfg)
	if err != nil {
		return nil, usageError{err}
	}
	return a, nil
}

// loadSettings completes what the command line said. The environment comes first, since it
// may say where the data directory with the file is.
func (p *program) loadSettings(cmd *cobra.Command) error {
	source := settings.Source{LookupEnv: p.lookupEnv, CommandLineOnly: []string{"help", "version", "config", "output"}}
	if err := settings.ApplyEnv(cmd.Flags(), source); err != nil {
		return usageError{err}
	}
	if p.flags.configFile == "" {
		p.flags.configFile, _ = p.lookupEnv(settings.EnvName("config"))
	}
	if p.cfg.DataDir == "" {
		dir, err := agent.DefaultDataDir()
		if err != nil && p.flags.configFile == "" {
			return usageError{err}
		}
		p.cfg.DataDir = dir
	}
	source.File, source.Required = p.flags.configFile, true
	if p.flags.configFile == "" {
		source.File, source.Required = filepath.Join(p.cfg.DataDir, agent.SettingsFile), false
	}
	if err := settings.ApplyFile(cmd.Flags(), source); err != nil {
		return usageError{err}
	}
	return nil
}

func shownDataDir() string {
	dir, err := agent.DefaultDataDir()
	if err != nil {
		return "which cannot be found here"
	}
	return dir
}

func versionLine() string {
	return version.String() + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  noArguments,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "node-agent version", versionLine())
		},
	}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("%s takes no arguments, but was given %q", cmd.CommandPath(), strings.Join(args, " "))
}

// choice is a flag that takes one of a few words.
type choice struct {
	value   string
	allowed []string
}

func newChoice(value string, allowed ...string) *choice { return &choice{value, allowed} }

// String implements pflag.Value.
func (c *choice) String() string { return c.value }

// Set implements pflag.Value.
func (c *choice) Set(text string) error {
	text = strings.ToLower(text)
	if !slices.Contains(c.allowed, text) {
		return fmt.Errorf("must be one of %s", c.list())
	}
	c.value = text
	return nil
}

// Type implements pflag.Value.
func (c *choice) Type() string { return "word" }

func (c *choice) list() string { return strings.Join(c.allowed, ", ") }
