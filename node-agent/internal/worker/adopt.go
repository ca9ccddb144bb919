package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/orchion/orchion/node-agent/internal/driver"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// Labels on the containers of jobs. Several agents may share an engine, so that the node's
// id is part of every search.
const (
	labelNode    = driver.LabelPrefix + "node"
	labelRole    = driver.LabelPrefix + "role"
	labelJob     = driver.LabelPrefix + "job"
	labelAttempt = driver.LabelPrefix + "attempt"
	labelSpec    = driver.LabelPrefix + "spec"
	// labelNetwork names the container whose network it was lent.
	labelNetwork = driver.LabelPrefix + "network"

	roleJob = "job"
)

func (a *attempt) labels(spec *orchionv1.JobSpec) map[string]string {
	return map[string]string{
		labelNode:    a.w.cfg.NodeID,
		labelRole:    roleJob,
		labelJob:     a.key.jobID,
		labelAttempt: strconv.Itoa(int(a.key.attempt)),
		labelSpec:    digest(spec),
	}
}

// attemptOf answers whose container it is; false: no attempt's.
func attemptOf(c driver.Container) (refKey, bool) {
	number, err := strconv.ParseInt(c.Labels[labelAttempt], 10, 32)
	return refKey{jobID: c.Labels[labelJob], attempt: int32(number)}, err == nil
}

// digest tells specs apart. It need not be the same in every version of this agent: a
// container that it does not match is run anew.
func digest(spec *orchionv1.JobSpec) string {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
	if err != nil {
		return "" // cannot be: it came from the wire
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// find takes over what an earlier run of the agent left on an engine. One that is shared
// with other agents is asked for what is this node's; on one that is not, what another
// node's id is on is from before this agent got a new one: nobody else ends it.
func (w *Worker) find(ctx context.Context, engine driver.Containers, shared bool) error {
	var ours map[string]string
	if shared {
		ours = map[string]string{labelNode: w.cfg.NodeID, labelRole: roleJob}
	}
	found, err := engine.List(ctx, ours)
	if err != nil {
		return err
	}
	for i, c := range found {
		// List leaves out when the container began; what is gone by now needs no more.
		if full, err := engine.Inspect(ctx, c.ID); err == nil {
			found[i] = full
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range found {
		key, ok := attemptOf(c)
		if !ok || w.attempts[key] != nil || c.State == driver.StateCreated || c.Labels[labelNode] != w.cfg.NodeID {
			// Not made by this version, made twice, or never started: no work is lost with it.
			// That of an earlier node was given up when that node was.
			w.wg.Go(func() { w.removeFound(engine, c) })
			continue
		}
		w.cfg.Logger.Info("found what an earlier run of this agent left", "job", key.jobID, "attempt", key.attempt, "state", string(c.State))
		w.addAttemptLocked(key, &c, engine)
	}
	return nil
}

func (w *Worker) removeFound(engine driver.Containers, c driver.Container) {
	if err := engine.Remove(w.root, c.ID); err != nil && w.root.Err() == nil {
		w.cfg.Logger.Warn("cannot remove a container left by an earlier run of this agent", "container", c.Name, "error", err)
	}
}
