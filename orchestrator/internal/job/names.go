package job

import "strconv"

// String gives the state's name as people read it.
func (s State) String() string {
	switch s {
	case Queued:
		return "queued"
	case Assigned:
		return "assigned"
	case Running:
		return "running"
	case Succeeded:
		return "succeeded"
	case Failed:
		return "failed"
	case Cancelled:
		return "cancelled"
	default:
		return "state " + strconv.Itoa(int(s))
	}
}

// Ended says whether a job in this state does nothing more by itself.
func (s State) Ended() bool { return s == Succeeded || s == Failed || s == Cancelled }

// Active says whether a node holds a job in this state.
func (s State) Active() bool { return s == Assigned || s == Running }

// States are all states, in the order in which a job passes them.
func States() []State {
	return []State{Queued, Assigned, Running, Succeeded, Failed, Cancelled}
}

// String gives the state's name as people read it.
func (s AttemptState) String() string {
	switch s {
	case AttemptAssigned:
		return "assigned"
	case AttemptRunning:
		return "running"
	case AttemptSucceeded:
		return "succeeded"
	case AttemptFailed:
		return "failed"
	case AttemptCancelled:
		return "cancelled"
	case AttemptLost:
		return "lost"
	case AttemptEvicted:
		return "evicted"
	default:
		return "attempt state " + strconv.Itoa(int(s))
	}
}

// Ended says whether an attempt in this state is over.
func (s AttemptState) Ended() bool { return s >= AttemptSucceeded && s <= AttemptEvicted }

// String gives the policy's name as people read it.
func (p PullPolicy) String() string {
	switch p {
	case PullIfNotPresent:
		return "if-not-present"
	case PullAlways:
		return "always"
	case PullNever:
		return "never"
	default:
		return "pull policy " + strconv.Itoa(int(p))
	}
}

// String gives the stream's name: stdout or stderr.
func (s Stream) String() string {
	switch s {
	case Stdout:
		return "stdout"
	case Stderr:
		return "stderr"
	default:
		return "stream " + strconv.Itoa(int(s))
	}
}

// String names the attempt for people and for logs: "attempt 2 of job ID".
func (r Ref) String() string { return "attempt " + strconv.Itoa(r.Attempt) + " of job " + r.JobID }

// maxIDLength bounds ids: they become names of folders.
const maxIDLength = 64

// ValidID says whether text can be the id of a job: 1 to 64 lower-case
// letters, digits, hyphens and underscores, beginning with a letter or digit.
// An id is part of file names, also on file systems that ignore case, so
// nothing else may ever become one.
func ValidID(text string) bool {
	if text == "" || len(text) > maxIDLength || text[0] == '-' || text[0] == '_' {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
