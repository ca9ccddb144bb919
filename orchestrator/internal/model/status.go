package model

import "fmt"

// Summary sums up a deployment's replicas: its state, and in words why it is
// not ready.
func (d *Deployment) Summary() (DeploymentState, string) {
	var live, ready, failed, outdated int
	var waiting, failing *Replica // the first that does not serve, and has failed
	for i := range d.Replicas {
		r := &d.Replicas[i]
		if r.Remove {
			continue
		}
		live++
		if r.Outdated {
			outdated++
		}
		switch r.State {
		case Ready:
			ready++
			continue
		case Failed:
			failed++
			if failing == nil {
				failing = r
			}
		default:
			if waiting == nil {
				waiting = r
			}
		}
	}
	switch {
	case d.Deleting:
		if left := len(d.Replicas); left > 0 {
			return DeploymentDeleting, fmt.Sprintf("waits for %s to stop", count(left, "replica"))
		}
		return DeploymentDeleting, ""
	case ready >= d.Wanted:
		switch {
		case d.Wanted == 0 && d.Spec.Scales() && d.EvictedFor != "":
			return DeploymentReady, fmt.Sprintf("made room for deployment %s: the next request starts a replica", d.EvictedFor)
		case d.Wanted == 0 && d.Spec.Scales():
			return DeploymentReady, "idle: the next request starts a replica"
		case d.Wanted == 0:
			return DeploymentReady, "scaled to no replicas"
		case outdated > 0 && failing != nil:
			return DeploymentReady, fmt.Sprintf("%s of the older spec serve on: the new one %s", count(outdated, "replica"), failing.describe())
		case outdated > 0:
			return DeploymentReady, fmt.Sprintf("%s of the older spec to be replaced", count(outdated, "replica"))
		}
		return DeploymentReady, ""
	case ready > 0:
		return DeploymentDegraded, fmt.Sprintf("%d of %s serve: %s", ready, count(d.Wanted, "replica"), worst(failing, waiting))
	case failed > 0 && failed == live:
		return DeploymentFailed, worst(failing, waiting)
	default:
		return DeploymentPending, worst(waiting, failing)
	}
}

// worst describes the first of some replicas that there is.
func worst(replicas ...*Replica) string {
	for _, r := range replicas {
		if r != nil {
			return r.describe()
		}
	}
	return "its replicas are about to be placed"
}

// describe says where a replica stands: "pulling on node a, 42 %: ...".
func (r *Replica) describe() string {
	if r.NodeID == "" {
		if r.Reason == "" {
			return "waits for a node"
		}
		return "waits for a node: " + r.Reason
	}
	text := r.State.String() + " on node " + r.NodeID
	if r.State == Pulling {
		text += fmt.Sprintf(", %.0f %%", r.ProgressPercent)
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	return text
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
