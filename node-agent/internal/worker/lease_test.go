package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/node-agent/internal/driver"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestDoesNotStartOnALeaseThatMayHaveAged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.AssignJob(container("a", "work:1", "1", "0"))
		time.Sleep(ttl / 2)
		synctest.Wait()
		if got := len(b.containers()); got != 0 {
			t.Errorf("%d containers before the lease was renewed, want none", got)
		}
		b.renew()
		synctest.Wait()
		if got := len(b.containers()); got != 1 {
			t.Errorf("%d containers after the lease was renewed, want 1", got)
		}
	})
}

func TestLeaseRunsOut(t *testing.T) {
	for _, image := range []string{"work:1", "stubborn:1"} {
		t.Run(image, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, nil)
				defer b.close()
				job := container("a", image, "600", "0")
				b.AssignJob(job)
				// The answer took 10 s: the lease counts from the question.
				b.LeasesRenewed(&orchionv1.LeasesRenewed{LeaseTtl: durationpb.New(ttl), Renewed: b.Leases()}, time.Now().Add(-10*time.Second))
				time.Sleep(20*time.Second - time.Millisecond)
				synctest.Wait()
				if got := b.Running(); got != 1 {
					t.Fatalf("%d attempts run within the lease, want 1", got)
				}
				// The orchestrator gives it to another node a third of the TTL later.
				time.Sleep(ttl/3 - time.Second)
				synctest.Wait()
				if got := len(b.containers()); got != 0 {
					t.Errorf("%d containers are left when the attempt may run elsewhere, want none", got)
				}
				if got := b.far.states("a"); got != "ASSIGNED RUNNING" {
					t.Errorf("states = %s, want no word on the end", got)
				}
				if got := len(b.Held().GetAttempts()) + len(b.Leases()); got != 0 {
					t.Errorf("still held: %v", b.Held())
				}
				// An orchestrator that was away as long may still count on it.
				b.assign(job)
				b.Assign(&orchionv1.AssignmentSet{Jobs: []*orchionv1.JobAssignment{job}})
				b.live(time.Second)
				if got := len(b.containers()); got != 0 {
					t.Error("the attempt runs a second time under one number")
				}
				second := container("a", image, "1", "0")
				second.Ref = &orchionv1.AttemptRef{JobId: "a", Attempt: 2}
				b.assign(second)
				if got := len(b.containers()); got != 1 {
					t.Errorf("%d containers for the second attempt, want 1", got)
				}
			})
		})
	}
}

func TestEndedAttemptOutlivesItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.assign(container("a", "work:1", "1", "0"))
		time.Sleep(10 * ttl) // nobody renews
		synctest.Wait()
		if got := b.far.last("a").GetState(); got != orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED {
			t.Fatalf("state = %v", got)
		}
		if got := len(b.Held().GetAttempts()); got != 1 {
			t.Errorf("%d attempts held, want the one that has ended", got)
		}
	})
}

func TestTakenAway(t *testing.T) {
	for _, c := range []struct {
		name string
		take func(*bed)
	}{
		{"by the answer to a renewal", func(b *bed) {
			b.LeasesRenewed(&orchionv1.LeasesRenewed{Lost: []*orchionv1.AttemptRef{ref("a")}}, time.Now())
		}},
		{"by the full set", func(b *bed) { b.Assign(&orchionv1.AssignmentSet{}) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, nil)
				defer b.close()
				b.assign(container("a", "stubborn:1"))
				b.live(time.Second)
				c.take(b)
				synctest.Wait()
				if got := len(b.containers()); got != 0 {
					t.Errorf("%d containers, want none at once", got)
				}
				if got := b.far.states("a"); got != "ASSIGNED RUNNING" {
					t.Errorf("states = %s, want no word on the end", got)
				}
			})
		})
	}
}

func TestTakesOverAfterARestart(t *testing.T) {
	for _, c := range []struct {
		name  string
		away  time.Duration // between the runs of the agent
		wants string        // the state in the hello
	}{
		{"still running", time.Second, "ATTEMPT_STATE_RUNNING"},
		{"ended meanwhile", time.Minute, "ATTEMPT_STATE_RUNNING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, nil)
				defer b.close()
				job := container("a", "work:1", "20", "7")
				b.assign(job)
				b.live(5 * time.Second)
				began := b.far.last("a").GetStartedAt().AsTime()
				b.Stop()
				time.Sleep(c.away)
				b.far.attempts = nil
				b.restart()
				hello := b.Held()
				if len(hello.GetAttempts()) != 1 || hello.GetAttempts()[0].GetState().String() != c.wants {
					t.Fatalf("hello = %v, want the attempt as %s", hello, c.wants)
				}
				b.Assign(&orchionv1.AssignmentSet{Jobs: []*orchionv1.JobAssignment{job}})
				b.live(time.Minute)
				if got := b.far.states("a"); got != "RUNNING FAILED" {
					t.Errorf("states = %s", got)
				}
				end := b.far.last("a")
				if end.GetExitCode() != 7 || end.GetOutput() != "begin a 1\nend" || len(b.far.logs["a"]) != 2 {
					t.Errorf("end = %v with %d lines of log, want exit code 7 and the whole output, from its beginning", end, len(b.far.logs["a"]))
				}
				if got := end.GetStartedAt().AsTime(); !got.Equal(began) {
					t.Errorf("began at %v, want %v as before", got, began)
				}
				b.acknowledge("a")
				if got := len(b.containers()); got != 0 {
					t.Errorf("%d containers after the acknowledgement, want none", got)
				}
			})
		})
	}
}

func TestTimeoutGoesOnOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		job := container("a", "work:1", "600", "0")
		job.Spec.Timeout = durationpb.New(20 * time.Second)
		b.assign(job)
		b.live(15 * time.Second)
		b.restart()
		b.Assign(&orchionv1.AssignmentSet{Jobs: []*orchionv1.JobAssignment{job}})
		b.live(4 * time.Second)
		if got := b.far.states("a"); got != "ASSIGNED RUNNING" {
			t.Errorf("states after 19 s = %s", got)
		}
		b.live(2 * time.Second)
		if got := b.far.last("a").GetReason(); got != "timed out after 20s" {
			t.Errorf("reason = %q", got)
		}
	})
}

func TestFoundContainersWithoutAnOrchestrator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.assign(container("a", "work:1", "600", "0"), container("b", "work:1", "1", "0"))
		b.live(2 * time.Second)
		b.restart()
		time.Sleep(defaultLease + time.Second)
		synctest.Wait()
		list := b.containers()
		if len(list) != 1 || list[0].Labels["orchion.job"] != "b" {
			t.Errorf("containers = %v, want only the one that has ended", list)
		}
	})
}

func TestRemovesWhatIsNotAssigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		job := container("a", "work:1", "600", "0")
		b.assign(job, container("b", "work:1", "600", "0"))
		// Another agent's, on the same engine; one of ours that never started; and one that
		// is of our node but no job.
		for _, labels := range []map[string]string{
			{"orchion.node": "node-2", "orchion.role": "job", "orchion.job": "c", "orchion.attempt": "1"},
			{"orchion.node": "node-1", "orchion.role": "job", "orchion.job": "d", "orchion.attempt": "1"},
			{"orchion.node": "node-1", "orchion.engine": "ollama"},
		} {
			spec := driver.JobSpec("work:1")
			spec.Labels = labels
			if _, err := b.engine.Create(t.Context(), spec); err != nil {
				t.Fatal(err)
			}
		}
		b.restart()
		b.Assign(&orchionv1.AssignmentSet{Jobs: []*orchionv1.JobAssignment{job}})
		synctest.Wait()
		var left []string
		for _, c := range b.containers() {
			left = append(left, c.Labels["orchion.node"]+"/"+c.Labels["orchion.job"]+c.Labels["orchion.engine"])
		}
		if got := strings.Join(left, " "); got != "node-1/a node-2/c node-1/ollama" {
			t.Errorf("left: %s", got)
		}
	})
}

func TestForeignSpecIsRunAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.assign(container("a", "work:1", "600", "0"))
		b.restart()
		b.assign(container("a", "work:1", "1", "0"))
		b.live(2 * time.Second)
		if end := b.far.last("a"); end.GetState() != orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED {
			t.Errorf("end = %v, want the job that is assigned now", end)
		}
	})
}

func TestLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBed(t, nil)
		defer b.close()
		b.assign(container("a", "work:1", "600", "0"), container("b", "work:1", "1", "0"))
		b.live(2 * time.Second)
		began := time.Now()
		b.Leave(t.Context())
		if took := time.Since(began); took != acknowledgeWait {
			t.Errorf("took %v, want the time that an end may take to be acknowledged", took)
		}
		list := b.containers()
		if len(list) != 1 || list[0].Labels["orchion.job"] != "b" {
			t.Errorf("containers = %v, want only the one whose end was not acknowledged", list)
		}
		if got := b.far.states("a"); got != "ASSIGNED RUNNING" {
			t.Errorf("states = %s, want no word on the end", got)
		}
		b.assign(container("c", "work:1", "1", "0"))
		if got := b.far.states("c"); got != "" {
			t.Errorf("a node that leaves took new work: %s", got)
		}
	})
}
