package events

import "github.com/orchion/orchion/orchestrator/internal/job"

// weigh is about how many bytes of memory an event keeps that may be many: those
// of texts that people give jobs.
func weigh(e *Event) int {
	if e.Job == nil {
		return 0
	}
	spec := &e.Job.Spec
	n := texts(e.Job.Labels) + list(spec.Constraints) + list(spec.Tolerations)
	if c := spec.Chat; c != nil {
		for i := range c.Messages {
			n += len(c.Messages[i].Content)
		}
	}
	if c := spec.Container; c != nil {
		n += list(c.Command) + list(c.Args) + texts(c.Env)
		for i := range c.Files {
			n += len(c.Files[i].Path) + len(c.Files[i].Content)
		}
	}
	if p := spec.Process; p != nil {
		n += list(p.Args) + texts(p.Env)
	}
	if r := e.Job.Result; r != nil {
		n += len(r.Output)
	}
	return n + len(e.Job.Reason) + reasons(e.Job.Attempts)
}

func list(texts []string) int {
	n := 0
	for _, text := range texts {
		n += len(text)
	}
	return n
}

func texts(m map[string]string) int {
	n := 0
	for key, value := range m {
		n += len(key) + len(value)
	}
	return n
}

func reasons(attempts []job.Attempt) int {
	n := 0
	for i := range attempts {
		n += len(attempts[i].Reason)
	}
	return n
}
