package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// deployment is a deployment as the manager works on it.
type deployment struct {
	Deployment // its Replicas stay empty
	replicas   []*replica
	work       *scheduler.Work
	digest     string // of what makes a replica out of date
	changed    bool   // since it was published
	want       int    // how many replicas there should be now
	scaling    scaling
	evictedFor string
	filled     bool // when everywhere: room was looked for since that may have changed
}

// replica is a replica as the manager works on it.
type replica struct {
	Replica
	number int // counts up: the higher, the newer
	// failures counts how often this replica and those that it replaces failed
	// since one was ready; failure is why the last did, and avoid where.
	failures int
	failure  string
	avoid    string
	retryAt  time.Time // when Failed: when to try again
	stopBy   time.Time // when Remove: when it is forgotten at the latest
	// finishBy, when Remove: its node is told to stop it then at the latest;
	// zero: it was told. lookAt is when to look whether it still has requests.
	finishBy, lookAt time.Time
	why              string // when Remove: for what, if it is not the usual
	against          string // what is known against its node, where nothing better was found
}

func newDeployment(d *Deployment, now time.Time) *deployment {
	own := &deployment{Deployment: *d, digest: digestOf(&d.Spec), want: d.Spec.Replicas}
	own.Replicas = nil
	own.scaling.begin(d.Spec.Replicas, now)
	// Checked when it was created; one that cannot be read any more would only
	// let replicas run in more places.
	constraints, _ := scheduler.ParseConstraints(d.Spec.Constraints)
	if len(d.Spec.Nodes) > 0 {
		if pinned, err := scheduler.OnNodes(d.Spec.Nodes); err == nil {
			constraints = append(constraints, pinned)
		}
	}
	own.work = &scheduler.Work{
		Resources:    d.Spec.Resources,
		Constraints:  constraints,
		Tolerations:  d.Spec.Tolerations,
		NeedsRuntime: d.Spec.Engine != External,
	}
	if d.Spec.Engine == External {
		own.work.AdoptedModel = d.Spec.Model
	}
	return own
}

// digestOf is the same for two specs when a replica of the one is as good as a
// replica of the other. It is part of the ids of replicas, so that those of an
// older spec are told apart without keeping their spec.
func digestOf(s *Spec) string {
	data, err := json.Marshal(Spec{Model: s.Model, Engine: s.Engine, Image: s.Image, Args: slices.Clip(s.Args), Resources: s.Resources, Ollama: s.Ollama})
	if err != nil {
		data = []byte(s.Model) // plain structs always encode
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:3])
}

func (d *deployment) touch() { d.changed = true }

// public is the deployment with its replicas, for readers.
func (d *deployment) public() Deployment {
	p := d.Deployment
	p.Wanted, p.EvictedFor = d.want, d.evictedFor
	p.Replicas = make([]Replica, 0, len(d.replicas))
	for _, r := range d.replicas {
		p.Replicas = append(p.Replicas, r.Replica)
	}
	return p
}

func (d *deployment) outdated(r *replica) bool {
	return !strings.HasPrefix(r.ID, d.Name+"-"+d.digest+"-")
}

// mayRunOn says whether the deployment names a node, if it names any.
func (d *deployment) mayRunOn(nodeID string) bool {
	return len(d.Spec.Nodes) == 0 || slices.Contains(d.Spec.Nodes, nodeID)
}

// change takes over what an update of a deployment says.
func (m *Manager) change(d *deployment, to *Deployment) {
	fresh := newDeployment(to, time.Now())
	begins := !d.Spec.Scales() || d.Spec.Replicas != to.Spec.Replicas
	d.Deployment, d.work, d.digest, d.filled = fresh.Deployment, fresh.work, fresh.digest, false
	if begins {
		d.scaling = fresh.scaling
	}
	for _, r := range d.replicas {
		r.Outdated = d.outdated(r)
	}
}

// holder names a replica in the cluster.
func holder(replicaID string) string { return "replica/" + replicaID }
