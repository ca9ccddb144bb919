package api

import (
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"
)

func TestArrays(t *testing.T) {
	h := newHarness(t, settings{})
	type jobAnswer struct {
		ID, ArrayID, State, Reason string
		ArrayIndex, ArrayCount     int
		Spec                       struct {
			After []struct{ JobID, On string }
		}
	}
	var first jobAnswer
	body := `{"name":"x","count":3,"idempotencyKey":"k","spec":{"container":{"image":"alpine"}}}`
	h.call(t, "POST", "/api/jobs", body).decode(t, &first)
	if first.ArrayID == "" || first.ArrayIndex != 0 || first.ArrayCount != 3 {
		t.Fatalf("an array is answered as %+v", first)
	}
	var again jobAnswer
	if h.call(t, "POST", "/api/jobs", body).decode(t, &again); again.ID != first.ID || again.ArrayID != first.ArrayID {
		t.Errorf("with the same key it is %+v", again)
	}
	var list struct{ Jobs []jobAnswer }
	h.call(t, "GET", "/api/jobs?arrayId="+first.ArrayID, "").decode(t, &list)
	if len(list.Jobs) != 3 || list.Jobs[0].ArrayIndex != 2 {
		t.Errorf("its jobs are %+v", list.Jobs)
	}
	id := h.submit(t, `{"spec":{"container":{"image":"alpine"},"after":[{"jobId":"`+first.ArrayID+`","on":"JOB_CONDITION_END"},{"jobId":"`+first.ID+`"}]}}`)
	var waiting jobAnswer
	h.call(t, "GET", "/api/jobs/"+id, "").decode(t, &waiting)
	if waiting.Reason != "waits for all jobs of "+first.ArrayID+" to end and for 1 more" || len(waiting.Spec.After) != 2 ||
		waiting.Spec.After[1].On != "JOB_CONDITION_SUCCESS" {
		t.Errorf("a job that waits for it is %+v", waiting)
	}
	var done struct {
		ArrayID             string
		Cancelled, Stopping int
	}
	h.call(t, "POST", "/api/arrays/"+first.ArrayID+":cancel", `{"reason":"enough"}`).decode(t, &done)
	if done.ArrayID != first.ArrayID || done.Cancelled != 3 || done.Stopping != 0 {
		t.Errorf("cancelling it answers %+v", done)
	}
	const invalid = http.StatusBadRequest
	h.call(t, "POST", "/api/arrays/array-none:cancel", `{}`).wantError(t, http.StatusNotFound, codes.NotFound, `there is no array "array-none"`)
	h.call(t, "POST", "/api/arrays/"+first.ID+":cancel", `{}`).wantError(t, invalid, codes.InvalidArgument, "id: is \""+first.ID+"\", which is not the id of an array")
	h.call(t, "GET", "/api/jobs?arrayId=x", "").wantError(t, invalid, codes.InvalidArgument, `arrayId: is "x", which is not the id of an array`)
}
