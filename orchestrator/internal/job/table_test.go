package job

import "testing"

// The switch that guards every write and the table that people read are the
// same.
func TestGuardIsTheTable(t *testing.T) {
	type row struct {
		event    Event
		from, to State
	}
	table := map[row]bool{}
	for _, r := range Transitions() {
		key := row{r.Event, r.From, r.To}
		if table[key] {
			t.Errorf("%s from %s to %s stands twice in the table", r.Event, r.From, r.To)
		}
		table[key] = true
	}
	for event := EventSubmit - 1; event <= EventEvict+1; event++ {
		for from := State(0); from <= Cancelled+1; from++ {
			for to := State(0); to <= Cancelled+1; to++ {
				if got, want := allowed(event, from, to), table[row{event, from, to}]; got != want {
					t.Errorf("%s from %s to %s: the guard says %v, the table %v", event, from, to, got, want)
				}
			}
		}
	}
}

func TestEnumNames(t *testing.T) {
	for _, s := range States() {
		if s.String() == State(99).String() || s.Ended() == (s == Queued || s.Active()) {
			t.Errorf("state %d has no name or is both ended and not", int(s))
		}
	}
	for got, want := range map[string]string{
		Queued.String():             "queued",
		State(99).String():          "state 99",
		AttemptLost.String():        "lost",
		AttemptState(99).String():   "attempt state 99",
		PullIfNotPresent.String():   "if-not-present",
		PullPolicy(99).String():     "pull policy 99",
		Stdout.String():             "stdout",
		Stderr.String():             "stderr",
		Stream(99).String():         "stream 99",
		Ref{"j1", 2}.String():       "attempt 2 of job j1",
		EventComplete.String():      "complete",
		AttemptSucceeded.String():   "succeeded",
		AttemptCancelled.String():   "cancelled",
		AttemptRunning.String():     "running",
		AttemptAssigned.String():    "assigned",
		PullAlways.String():         "always",
		PullNever.String():          "never",
		AttemptFailed.String():      "failed",
		EventSubmit.action():        "submitted",
		Event(99).String():          "event",
		AttemptState(0).String():    "attempt state 0",
		AttemptEvicted.String():     "evicted",
		EventEvict.String():         "evict",
		EventEvict.action():         "evicted",
		FailureOutOfMemory.String(): "out of memory",
		Failure(99).String():        "failure 99",
	} {
		if got != want {
			t.Errorf("got the name %q, want %q", got, want)
		}
	}
}
