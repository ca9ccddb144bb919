package model

import (
	"strconv"
	"strings"
)

// MaxNameLength bounds the name of a deployment.
const MaxNameLength = 63

// String gives the engine's name as people read it.
func (e Engine) String() string {
	switch e {
	case Ollama:
		return "ollama"
	case VLLM:
		return "vllm"
	case External:
		return "external"
	default:
		return "engine " + strconv.Itoa(int(e))
	}
}

// String gives the state's name as people read it.
func (s ReplicaState) String() string {
	switch s {
	case Pending:
		return "pending"
	case Pulling:
		return "pulling"
	case Loading:
		return "loading"
	case Ready:
		return "ready"
	case Failed:
		return "failed"
	case Stopping:
		return "stopping"
	default:
		return "replica state " + strconv.Itoa(int(s))
	}
}

// String gives the state's name as people read it.
func (s DeploymentState) String() string {
	switch s {
	case DeploymentPending:
		return "pending"
	case DeploymentReady:
		return "ready"
	case DeploymentDegraded:
		return "degraded"
	case DeploymentFailed:
		return "failed"
	case DeploymentDeleting:
		return "deleting"
	default:
		return "deployment state " + strconv.Itoa(int(s))
	}
}

// NameOf makes a deployment's name from a model's: qwen3:0.6b becomes
// qwen3-0-6b. It is empty when nothing of the model's name can stay.
func NameOf(model string) string {
	var name strings.Builder
	for _, r := range strings.ToLower(model) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			name.WriteRune(r)
		} else if name.Len() > 0 && !strings.HasSuffix(name.String(), "-") {
			name.WriteByte('-')
		}
	}
	text := name.String()
	return strings.TrimRight(text[:min(len(text), MaxNameLength)], "-")
}

// validName says whether text can name a deployment: 1 to 63 lower-case
// letters, digits and hyphens, beginning with a letter or digit.
func validName(text string) bool {
	if text == "" || len(text) > MaxNameLength || text[0] == '-' {
		return false
	}
	for _, r := range text {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}
