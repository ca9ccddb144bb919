package scheduler

import (
	"fmt"

	"github.com/orchion/orchion/orchestrator/internal/label"
)

// Job is a job as far as others may avoid it.
type Job struct {
	ID     string
	Labels map[string]string
}

// tenants are the jobs that a node holds, by the labels that others may avoid
// them for. Most nodes hold no job with labels, or none with those that are
// asked for, and say so without looking at their jobs.
type tenants struct {
	// labels are those of the jobs that have some, by the job's id.
	labels map[string]map[string]string
	// having counts the jobs that meet a requirement: each has a label, and a
	// label with a value.
	having map[label.Requirement]int
	// claims are jobs that were placed here and whose labels the store is about
	// to tell.
	claims int
	// awaited: somebody who avoids jobs could not be placed for the claims.
	awaited bool
}

func (t *tenants) add(j *Job) {
	if len(j.Labels) == 0 {
		return
	}
	if t.labels == nil {
		t.labels, t.having = make(map[string]map[string]string), make(map[label.Requirement]int)
	}
	t.labels[j.ID] = j.Labels
	for key, value := range j.Labels {
		t.having[label.Requirement{Key: key, Op: label.Equals, Value: value}]++
		t.having[label.Requirement{Key: key, Op: label.Exists}]++
	}
}

func (t *tenants) remove(j *Job) {
	if len(j.Labels) == 0 {
		return
	}
	delete(t.labels, j.ID)
	if len(t.labels) == 0 {
		t.labels, t.having = nil, nil
		return
	}
	drop := func(r label.Requirement) {
		if t.having[r]--; t.having[r] == 0 {
			delete(t.having, r)
		}
	}
	for key, value := range j.Labels {
		drop(label.Requirement{Key: key, Op: label.Equals, Value: value})
		drop(label.Requirement{Key: key, Op: label.Exists})
	}
}

// mayHold says whether some job may meet each requirement, looking at none.
func (t *tenants) mayHold(s label.Selector) bool {
	for _, r := range s {
		if r.Op != label.NotEquals && t.having[r] == 0 {
			return false
		}
	}
	return true
}

// avoided answers a job that the work avoids, the first by id; empty: there is
// none.
func (t *tenants) avoided(w *Work) (first string) {
	if !t.mayHold(w.AvoidJobs) {
		return ""
	}
	for id, labels := range t.labels {
		if w.is(id) || first != "" && id > first {
			continue
		}
		if w.AvoidJobs.Matches(labels) {
			first = id
		}
	}
	return first
}

// countAvoided is how many jobs the work avoids.
func (t *tenants) countAvoided(w *Work) int {
	if len(w.AvoidJobs) == 0 || !t.mayHold(w.AvoidJobs) {
		return 0
	}
	n := 0
	for id, labels := range t.labels {
		if !w.is(id) && w.AvoidJobs.Matches(labels) {
			n++
		}
	}
	return n
}

// mayAvoid says whether the work avoids a job, or its labels are not known.
func (w *Work) mayAvoid(other *Work) bool {
	return len(w.AvoidJobs) > 0 && (other.Job == nil || w.AvoidJobs.Matches(other.Job.Labels))
}

// snapshot is what placing this work depends on, for use without the lock that
// guards t.
func (t *tenants) snapshot(w *Work) tenants {
	s := tenants{claims: t.claims}
	if len(w.AvoidJobs) > 0 {
		if id := t.avoided(w); id != "" {
			s.add(&Job{ID: id, Labels: t.labels[id]})
		}
	}
	return s
}

// is says whether the work is that job: it does not avoid itself.
func (w *Work) is(jobID string) bool { return w.Job != nil && w.Job.ID == jobID }

func holdsNoneAvoided(w *Work, c *Candidate) bool {
	return len(w.AvoidJobs) == 0 || c.tenants.claims == 0 && c.tenants.avoided(w) == ""
}

func whyHoldsAvoided(w *Work, c *Candidate) []string {
	if id := c.tenants.avoided(w); id != "" {
		return []string{fmt.Sprintf("holds job %s, which this job avoids by %s", id, w.AvoidJobs)}
	}
	return []string{"is just being given another job; whether this one avoids it is known in a moment"}
}
