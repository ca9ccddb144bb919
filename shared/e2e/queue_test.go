package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
	"github.com/orchion/orchion/shared/testbed/engine"
)

// TestArrayAndWhatWaitsForIt runs an array of containers, each of which finds
// its number, and a job that begins when all have ended.
func TestArrayAndWhatWaitsForIt(t *testing.T) {
	t.Parallel()
	forEachEngine(t, func(t *testing.T, e *engine.Engine) {
		c := newCluster(t)
		if err := c.call(http.MethodPut, "/api/queues/narrow", &orchionv1.PutQueueRequest{MaxRunning: 1}, &orchionv1.Queue{}); err != nil {
			t.Fatal(err)
		}
		const count = 3
		first := c.submit([]string{"env", "ORCHION_ARRAY_INDEX", "env", "ORCHION_ARRAY_COUNT"}, func(r *orchionv1.SubmitJobRequest) {
			n := int32(count)
			r.Count, r.Spec.Queue = &n, "narrow"
		})
		job := &orchionv1.Job{}
		if err := c.get("/api/jobs/"+first, job); err != nil {
			t.Fatal(err)
		}
		after := c.submit([]string{"env", "ORCHION_JOB_ID"}, func(r *orchionv1.SubmitJobRequest) {
			r.Spec.After = []*orchionv1.JobDependency{{JobId: job.GetArrayId()}}
		})
		c.addAgent("array", e)
		last := c.waitJob(after, succeeded)
		list := &orchionv1.ListJobsResponse{}
		if err := c.get("/api/jobs?arrayId="+job.GetArrayId(), list); err != nil || len(list.GetJobs()) != count {
			t.Fatalf("the array has %d jobs, %v", len(list.GetJobs()), err)
		}
		for _, j := range list.GetJobs() {
			want := fmt.Sprintf("ORCHION_ARRAY_INDEX=%d\nORCHION_ARRAY_COUNT=%d", j.GetArrayIndex(), count)
			if j.GetState() != succeeded || !strings.Contains(j.GetResult().GetOutput(), want) {
				t.Errorf("job %d is %v with the output %q", j.GetArrayIndex(), j.GetState(), j.GetResult().GetOutput())
			}
			if last.GetStartedAt().AsTime().Before(j.GetFinishedAt().AsTime()) {
				t.Errorf("what waits for the array began before job %d had ended", j.GetArrayIndex())
			}
		}
	})
}
