package main

import (
	"context"
	"io"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/orchion/orchion/orchestrator"
	"github.com/orchion/orchion/orchestrator/internal/footprint"
	"github.com/orchion/orchion/shared/settings"
	"github.com/orchion/orchion/shared/version"
)

const longHelp = `The orchestrator is Orchion's control plane: the registry of nodes, the durable
job queue, model deployments, the OpenAI-compatible gateway and the dashboard.

It needs nothing to start. Node agents dial the gRPC port; people and programs
use the HTTP port. Both are bound to loopback.

Every flag can also be set by an environment variable (--http-port is
ORCHION_HTTP_PORT) and by a key in a YAML file (http-port: 8080), which is read
from --config or, when it is there, from orchestrator.yaml in the data
directory. A flag wins over the environment, and the environment over the file.

Ctrl-C or SIGTERM ends it gracefully; the second one at once. Jobs go on
running on their nodes meanwhile.`

const examples = `  # Start with everything at its default; the dashboard is at http://localhost:8080
  orchestrator

  # Other ports, and nodes that may be silent for a minute
  orchestrator --port 50052 --http-port 8081 --heartbeat-timeout 1m

  # Data in a folder of its own, logs as JSON
  orchestrator --data-dir /srv/orchion --log-format json

  # Let a web page of your own call the API
  orchestrator --allowed-origins http://localhost:3000`

// flags are those that are not part of orchestrator.Config.
type flags struct {
	configFile string
	logLevel   *choice
	logFormat  *choice
}

// newCommand makes the command; lookupEnv is os.LookupEnv but in tests.
func newCommand(lookupEnv func(string) (string, bool)) *cobra.Command {
	cfg := orchestrator.DefaultConfig()
	f := flags{
		logLevel:  newChoice("info", "debug", "info", "warn", "error"),
		logFormat: newChoice("text", "text", "json"),
	}
	cmd := &cobra.Command{
		Use:           "orchestrator",
		Short:         "Run Orchion's control plane",
		Long:          longHelp,
		Example:       examples,
		Version:       version.String() + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := loadSettings(cmd, &cfg, &f, lookupEnv); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, &f, cmd.ErrOrStderr())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.Flags().SortFlags = false
	addFlags(cmd, &cfg, &f)
	return cmd
}

func addFlags(cmd *cobra.Command, cfg *orchestrator.Config, f *flags) {
	set := cmd.Flags()
	set.Var(newPort(&cfg.Port), "port", "gRPC port that node agents dial; 0 takes a free one")
	set.Var(newPort(&cfg.HTTPPort), "http-port", "port of the REST API, the gateway and the dashboard; 0 takes a free one")
	set.StringVar(&cfg.Listen, "listen", cfg.Listen, "address that both ports are bound to; only loopback for now")
	set.StringVar(&cfg.DataDir, "data-dir", "", "folder of the database and the logs (default: this user's, "+shownDataDir()+")")
	set.DurationVar(&cfg.HeartbeatTimeout, "heartbeat-timeout", cfg.HeartbeatTimeout, "how long a node may be silent before it is offline, 1s to 1h")
	set.DurationVar(&cfg.LeaseTTL, "lease-ttl", cfg.LeaseTTL, "how long a job runs on without its node reaching the orchestrator, 3s to 1h")
	set.DurationVar(&cfg.PauseLimit, "pause-limit", cfg.PauseLimit,
		"how long the work of silent nodes is kept for them when more than half went silent within a minute, 10s to 24h; 0 never does that")
	set.DurationVar(&cfg.ReserveAfter, "reserve-after", cfg.ReserveAfter,
		"how long a job whose turn it is finds no room until a node keeps some for it, 1s to 24h")
	set.DurationVar(&cfg.ShutdownTimeout, "shutdown-timeout", cfg.ShutdownTimeout, "how long a graceful end may take, 1s to 10m")
	set.StringSliceVar(&cfg.AllowedOrigins, "allowed-origins", cfg.AllowedOrigins, "web origins that may use the API from a browser")
	set.StringSliceVar(&cfg.AllowedHosts, "allowed-hosts", cfg.AllowedHosts, "names to answer to besides localhost, 127.0.0.1 and [::1]")
	set.IntVar(&cfg.MaxNodes, "max-nodes", cfg.MaxNodes, "how many nodes may be online together")
	set.Var(newPlacement(&cfg.Placement), "placement",
		"which of the nodes that fit gets a job that does not say: binpack takes the fuller ones, spread the emptier ones")
	set.Var(settings.NewPeriod(&cfg.JobHistory), "job-history", "how long jobs are kept after they ended, with their logs, such as 30d or 36h; 0 for ever")
	set.IntVar(&cfg.MaxJobHistory, "max-job-history", cfg.MaxJobHistory, "how many ended jobs are kept; over it the oldest go; 0 is no limit")
	set.Var(settings.NewPeriod(&cfg.LogRetention), "log-retention", "how long the logs of jobs are kept after they last grew, such as 14d or 36h; 0 for ever")
	set.Var(settings.NewBytes(&cfg.LogMaxBytes), "log-max-bytes", "how much of the disk the logs of jobs may take; over it the oldest go; 0 is no limit")
	set.Var(settings.NewBytes(&cfg.JobLogMaxBytes), "job-log-max-bytes", "how long the log of one attempt may be, before it is compressed; over it lines are dropped from the middle")
	set.Var(settings.NewPeriod(&cfg.UsageRetention), "usage-retention", "how long it is kept what calls of models took, such as 90d or 36h; 0 for ever")
	set.DurationVar(&cfg.QueueTimeout, "queue-timeout", cfg.QueueTimeout, "how long a request waits until a replica of its model has time for it, up to 1h; 0 never waits")
	set.DurationVar(&cfg.ColdModelTimeout, "cold-model-timeout", cfg.ColdModelTimeout, "how long a request waits for a model that is deployed and not ready, up to 1h; 0 never waits")
	set.Var(newGatewayLog(&cfg.GatewayLog), "gateway-log", "which calls of models are logged, without what was asked and answered: off, errors, all (at most 20 lines a second)")
	set.BoolVar(&cfg.DirectPath, "direct-path", cfg.DirectPath, "connect to engines on this machine directly, and not through their node (Linux)")
	set.Var(settings.NewPeriod(&cfg.ArtifactRetention), "artifact-retention", "how long artifacts are kept, such as 14d or 36h; 0 as long as their jobs")
	set.Var(settings.NewBytes(&cfg.ArtifactMaxBytes), "artifact-max-bytes", "how much the artifacts of one attempt may have together, from 1 MiB")
	set.Var(settings.NewBytes(&cfg.BlobMaxBytes), "blob-max-bytes", "how large one uploaded input file or one artifact of a job may be, 1 MiB to 1 TiB")
	set.Var(settings.NewBytes(&cfg.BlobStoreMaxBytes), "blob-store-max-bytes", "how much of the disk all input files and artifacts together may take; over it nothing more is taken")
	set.Var(f.logLevel, "log-level", "what is logged: "+f.logLevel.list())
	set.Var(f.logFormat, "log-format", "how it is logged: "+f.logFormat.list())
	set.StringVar(&f.configFile, "config", "", "YAML file with settings (default: orchestrator.yaml in the data directory, if it is there)")
}

// loadSettings completes what the command line said. The environment comes
// first, since it may say where the data directory with the file is.
func loadSettings(cmd *cobra.Command, cfg *orchestrator.Config, f *flags, lookupEnv func(string) (string, bool)) error {
	source := settings.Source{LookupEnv: lookupEnv, CommandLineOnly: []string{"help", "version", "config"}}
	if err := settings.ApplyEnv(cmd.Flags(), source); err != nil {
		return usageError{err}
	}
	if f.configFile == "" {
		f.configFile, _ = lookupEnv(settings.EnvName("config"))
	}
	if cfg.DataDir == "" {
		dir, err := orchestrator.DefaultDataDir()
		if err != nil && f.configFile == "" {
			return usageError{err}
		}
		cfg.DataDir = dir
	}
	source.File, source.Required = f.configFile, true
	if f.configFile == "" {
		source.File, source.Required = filepath.Join(cfg.DataDir, orchestrator.SettingsFile), false
	}
	if err := settings.ApplyFile(cmd.Flags(), source); err != nil {
		return usageError{err}
	}
	return nil
}

func serve(ctx context.Context, cfg orchestrator.Config, f *flags, stderr io.Writer) error {
	cfg.Logger = settings.NewLogger(stderr, f.logLevel.value, f.logFormat.value)
	o, err := orchestrator.New(cfg)
	if err != nil {
		return usageError{err}
	}
	stop := footprint.Start(ctx)
	defer stop()
	return o.Run(ctx)
}

func shownDataDir() string {
	dir, err := orchestrator.DefaultDataDir()
	if err != nil {
		return "which cannot be found here"
	}
	return dir
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageError{errorf("takes no arguments, but was given %q", strings.Join(args, " "))}
}
