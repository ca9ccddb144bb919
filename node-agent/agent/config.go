package agent

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/session"
	"github.com/orchion/orchion/shared/settings"
)

// SettingsFile is the name of the settings file that is looked for in the data directory.
const SettingsFile = "node-agent.yaml"

// Names of the files that are looked for in the data directory.
const (
	PolicyFile     = "policy.yaml"
	RegistriesFile = "registries.yaml"
)

// DefaultPort is the orchestrator's gRPC port, taken when an address names none.
const DefaultPort = "50051"

// AdoptNone as the only value of Config.Adopt turns adopting off.
const AdoptNone = "none"

// Choices of Config.Runtime.
const (
	RuntimeAuto   = "auto"
	RuntimePodman = "podman"
	RuntimeDocker = "docker"
	RuntimeNone   = "none"
)

// Runtimes are the allowed values of Config.Runtime.
func Runtimes() []string { return []string{RuntimeAuto, RuntimePodman, RuntimeDocker, RuntimeNone} }

// Config says how a node agent runs. Begin with DefaultConfig.
type Config struct {
	// Orchestrator is the host:port of the orchestrator's gRPC endpoint; without a port,
	// DefaultPort. Only loopback is accepted. Default localhost:50051.
	Orchestrator string
	// HeartbeatInterval is the wished period; the orchestrator decides. 1s to 10m.
	// Default 5s.
	HeartbeatInterval time.Duration
	// NodeID names the node. Default: the one in the data directory, made at the first run.
	NodeID string
	// Hostname is shown to people. Default: the machine's.
	Hostname string
	// DataDir holds the node's id. Required; DefaultDataDir names the usual one.
	DataDir string
	// Labels are told to the orchestrator. At most 64.
	Labels map[string]string
	// Taints keep work away that does not tolerate them. At most 32.
	Taints []string
	// Adopt are URLs of OpenAI-compatible engines that run already. Default: the
	// well-known ports of this machine are probed; AdoptNone alone turns that off.
	Adopt []string
	// Runtime is which container engine to use: one of Runtimes. Default RuntimeAuto:
	// Podman before Docker, or the one at DOCKER_HOST.
	Runtime string
	// Policy is the file that says what jobs may do here beyond running in containers; it
	// must be there. Default: PolicyFile in the data directory, if it is there.
	Policy string
	// Registries is the file that holds credentials for image registries; it must be there.
	// Default: RegistriesFile in the data directory, if it is there.
	Registries string
	// MaxJobs is how many containers of jobs run at once. 0 to 10,000. Default 0: twice the
	// number of logical cores.
	MaxJobs int
	// OllamaImage and VLLMImage are the engines' container images where a deployment names
	// none, such as docker.io/ollama/ollama@sha256:... Default: the engines' own newest.
	OllamaImage, VLLMImage string
	// ReadyNetworks is how many networks are kept ready for jobs at most. 0 to 64. Default 16;
	// 0: none.
	ReadyNetworks int
	// KeepModels keeps this node's models to itself, and has it get them from their
	// registries alone. Default: nodes give each other the models of their Ollama containers.
	KeepModels bool
	// ModelRate is how many bytes of models are given to other nodes in a second at most.
	// 64 KiB to 1 TiB; 0: as much as goes. Default 0.
	ModelRate int64
	// LogRate is how many bytes of the log of one job are sent in a second at most. 64 KiB
	// to 1 GiB; 0: as much as goes. Default 32 MiB.
	LogRate int64
	// LogBuffer is how much of each job's output the container engine keeps on this
	// machine until it is sent. 1 MiB to 1 TiB. Default 256 MiB.
	LogBuffer int64
	// ShutdownTimeout bounds the graceful end: stopping jobs and engines, telling the
	// orchestrator. 1s to 10m. Default 20s.
	ShutdownTimeout time.Duration
	// Logger gets what happens. Default: nowhere.
	Logger *slog.Logger
}

// DefaultConfig is the configuration of an agent that was told nothing, but for DataDir.
func DefaultConfig() Config {
	return Config{
		Orchestrator:      "localhost:" + DefaultPort,
		HeartbeatInterval: 5 * time.Second,
		Runtime:           RuntimeAuto,
		ReadyNetworks:     defaultReadyNetworks,
		LogRate:           session.DefaultLogRate,
		LogBuffer:         driver.DefaultLogBytes,
		ShutdownTimeout:   20 * time.Second,
	}
}

// SettingError is a wrong setting: a mistake of whoever started the agent.
type SettingError struct {
	// Flag is the flag's name without dashes.
	Flag string
	text string
}

func (e *SettingError) Error() string { return "--" + e.Flag + " " + e.text }

func wrong(flag, format string, args ...any) error {
	return &SettingError{Flag: flag, text: fmt.Sprintf(format, args...)}
}

// The orchestrator's own rules, checked here so that a mistake shows at once.
const (
	maxNodeID     = 128
	maxHostname   = 253
	maxLabels     = 64
	maxLabelKey   = 63
	maxLabelValue = 253
	maxTaints     = 32
	maxAdopted    = 32
	maxMaxJobs    = 10_000
	// maxReadyNetworks bounds the containers that an agent has an engine keep for nothing else.
	maxReadyNetworks     = 64
	defaultReadyNetworks = 16

	minModelRate = 64 << 10
	maxModelRate = 1 << 40

	minLogRate = 64 << 10
	maxLogRate = 1 << 30
	// maxLogBuffer is more than anybody's disk has to spare.
	maxLogBuffer = 1 << 40
)

var (
	nodeIDPattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	hostnamePattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	labelKeyPattern = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)
)

// Validate says what is wrong with a configuration, as a *SettingError.
func (c *Config) Validate() error {
	if _, err := orchestratorAddress(c.Orchestrator); err != nil {
		return err
	}
	for _, d := range []struct {
		flag            string
		value, low, top time.Duration
	}{
		{"heartbeat-interval", c.HeartbeatInterval, time.Second, 10 * time.Minute},
		{"shutdown-timeout", c.ShutdownTimeout, time.Second, 10 * time.Minute},
	} {
		if d.value < d.low || d.value > d.top {
			return wrong(d.flag, "is %v; it must be between %v and %v", d.value, d.low, d.top)
		}
	}
	switch {
	case c.NodeID != "" && (len(c.NodeID) > maxNodeID || !nodeIDPattern.MatchString(c.NodeID)):
		return wrong("node-id", "is %q; allowed are 1 to %d of A-Z a-z 0-9 . _ -, starting with a letter or digit", c.NodeID, maxNodeID)
	case c.Hostname != "" && (len(c.Hostname) > maxHostname || !hostnamePattern.MatchString(c.Hostname)):
		return wrong("hostname", "is %q; allowed are 1 to %d of A-Z a-z 0-9 . _ -", c.Hostname, maxHostname)
	case c.DataDir == "":
		return wrong("data-dir", "is empty; name a folder")
	case !slices.Contains(Runtimes(), c.Runtime):
		return wrong("runtime", "is %q; it must be one of %s", c.Runtime, strings.Join(Runtimes(), ", "))
	case c.ReadyNetworks < 0 || c.ReadyNetworks > maxReadyNetworks:
		return wrong("ready-networks", "is %d; it must be between 0 and %d, 0 meaning none", c.ReadyNetworks, maxReadyNetworks)
	case c.MaxJobs < 0 || c.MaxJobs > maxMaxJobs:
		return wrong("max-jobs", "is %d; it must be between 0 and %d, 0 meaning twice the number of logical cores", c.MaxJobs, maxMaxJobs)
	}
	if c.ModelRate != 0 && (c.ModelRate < minModelRate || c.ModelRate > maxModelRate) {
		return wrong("model-rate", "is %d; it must be between %d and %d, or 0 for no limit", c.ModelRate, minModelRate, maxModelRate)
	}
	if c.LogRate != 0 && (c.LogRate < minLogRate || c.LogRate > maxLogRate) {
		return wrong("log-rate", "is %d; it must be between %d and %d, or 0 for no limit", c.LogRate, minLogRate, maxLogRate)
	}
	if c.LogBuffer < driver.MinLogBytes || c.LogBuffer > maxLogBuffer {
		return wrong("log-buffer", "is %d; it must be between %d and %d", c.LogBuffer, driver.MinLogBytes, maxLogBuffer)
	}
	if err := validateLabels(c.Labels); err != nil {
		return err
	}
	if err := validateTaints(c.Taints); err != nil {
		return err
	}
	for flag, image := range map[string]string{"ollama-image": c.OllamaImage, "vllm-image": c.VLLMImage} {
		if image == "" {
			continue
		}
		if _, err := driver.NormalizeReference(image); err != nil {
			return wrong(flag, "is %q; it must be an image such as docker.io/ollama/ollama:0.6.5 or docker.io/ollama/ollama@sha256:...: %v", image, err)
		}
	}
	return validateAdopt(c.Adopt)
}

func validateTaints(taints []string) error {
	if len(taints) > maxTaints {
		return wrong("taints", "has %d taints; at most %d are allowed", len(taints), maxTaints)
	}
	for _, taint := range taints {
		if len(taint) > maxLabelKey || !labelKeyPattern.MatchString(taint) {
			return wrong("taints", "has %q; allowed are 1 to %d of A-Z a-z 0-9 . _ / -", taint, maxLabelKey)
		}
	}
	return nil
}

func validateLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return wrong("labels", "has %d labels; at most %d are allowed", len(labels), maxLabels)
	}
	for key, value := range labels {
		if key == "" || len(key) > maxLabelKey || !labelKeyPattern.MatchString(key) {
			return wrong("labels", "has the key %q; allowed are 1 to %d of A-Z a-z 0-9 . _ / -", key, maxLabelKey)
		}
		if len(value) > maxLabelValue || strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return wrong("labels", "has a value of %s that is too long or cannot be printed; allowed are %d printable bytes", key, maxLabelValue)
		}
	}
	return nil
}

func validateAdopt(adopt []string) error {
	if slices.Contains(adopt, AdoptNone) && len(adopt) > 1 {
		return wrong("adopt", "is %q together with URLs; give one or the other", AdoptNone)
	}
	if len(adopt) > maxAdopted {
		return wrong("adopt", "names %d engines; at most %d are allowed", len(adopt), maxAdopted)
	}
	for _, raw := range adopt {
		if raw == AdoptNone {
			continue
		}
		u, err := url.Parse(raw)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return wrong("adopt", "is %q; it must be %q or a URL such as http://127.0.0.1:11434", raw, AdoptNone)
		}
	}
	return nil
}

// orchestratorAddress gives the host:port to dial.
func orchestratorAddress(address string) (string, error) {
	const flag = "orchestrator"
	if strings.Contains(address, "://") {
		return "", wrong(flag, "is %q; give host:port of the gRPC endpoint without a scheme, such as localhost:%s", address, DefaultPort)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host, port = strings.Trim(address, "[]"), DefaultPort
	}
	if number, err := strconv.Atoi(port); err != nil || number < 1 || number > 65535 || host == "" {
		return "", wrong(flag, "is %q; it must be host:port, such as localhost:%s", address, DefaultPort)
	}
	if ip, err := netip.ParseAddr(host); !strings.EqualFold(host, "localhost") && (err != nil || !ip.IsLoopback()) {
		return "", wrong(flag, "is %s, on another machine. Enrolment with TLS and authentication is not built yet, and nothing must travel a network "+
			"in plain text, so only loopback is accepted. Until then, bring the orchestrator here through a tunnel, for example "+
			"`ssh -N -L %s:localhost:%s user@%s`, and leave --orchestrator at localhost:%s", address, DefaultPort, port, host, DefaultPort)
	}
	return net.JoinHostPort(host, port), nil
}

// DefaultDataDir is the usual data directory; see settings.DefaultDataDir.
func DefaultDataDir() (string, error) { return settings.DefaultDataDir("node-agent") }

// hostname is the machine's name, in the characters that are allowed in one.
func hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return "unknown"
	}
	name = strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r)) {
			return r
		}
		return '-'
	}, name)
	return name[:min(len(name), maxHostname)]
}
