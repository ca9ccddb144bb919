package worker

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func chatJob(job string) *orchionv1.JobAssignment {
	temperature := 0.0
	return &orchionv1.JobAssignment{
		Ref: ref(job), LeaseTtl: durationpb.New(ttl),
		Spec: &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Chat{Chat: &orchionv1.ChatSpec{
			Model: "tiny", MaxTokens: 9, Temperature: &temperature,
			Messages: []*orchionv1.ChatMessage{{Role: "system", Content: "Be brief."}, {Role: "user", Content: "Hello?"}},
		}}},
	}
}

// gateway answers chats.
type gateway func(*http.Request) (status int, header http.Header, body string)

func (g gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	code, header, body := g(r)
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: code, Status: http.StatusText(code), Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, nil
}

func withGateway(g gateway) func(*Config) {
	return func(c *Config) {
		c.GatewayClient = func(string, int) *http.Client { return &http.Client{Transport: g} }
	}
}

const answered = `{"choices":[{"message":{"role":"assistant","content":"Hello.\nHow are you?"}}]}`

func TestChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked map[string]any
		b := newBed(t, withGateway(func(r *http.Request) (int, http.Header, string) {
			if r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" {
				t.Errorf("asked %s %s", r.Method, r.URL)
			}
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
				t.Error(err)
			}
			return http.StatusOK, nil, answered
		}))
		defer b.close()
		b.AssignJob(chatJob("a"))
		synctest.Wait()
		if asked != nil {
			t.Error("asked before the lease was renewed")
		}
		b.assign()
		if got := b.far.states("a"); got != "RUNNING SUCCEEDED" {
			t.Errorf("states = %s: %s", got, b.far.reasons("a"))
		}
		if got := b.far.last("a").GetOutput(); got != "Hello.\nHow are you?" {
			t.Errorf("output = %q", got)
		}
		if lines := b.far.logs["a"]; len(lines) != 2 || lines[1].Text != "How are you?" {
			t.Errorf("log = %v, want the answer's lines", lines)
		}
		for key, want := range map[string]any{"model": "tiny", "max_tokens": 9.0, "temperature": 0.0, "stream": false} {
			if asked[key] != want {
				t.Errorf("%s = %v, want %v", key, asked[key], want)
			}
		}
		if messages, ok := asked["messages"].([]any); !ok || len(messages) != 2 {
			t.Errorf("messages = %v, want both", asked["messages"])
		}
	})
}

func TestChatWaitsForTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var times []time.Time
		b := newBed(t, withGateway(func(*http.Request) (int, http.Header, string) {
			times = append(times, time.Now())
			switch len(times) {
			case 1:
				return http.StatusServiceUnavailable, http.Header{"Retry-After": {"7"}}, `{"error":{"message":"pulling, 12 %"}}`
			case 2:
				return http.StatusBadGateway, nil, "<html>"
			}
			return http.StatusOK, nil, answered
		}))
		defer b.close()
		b.assign(chatJob("a"))
		b.live(time.Minute)
		if got := b.far.states("a"); got != "RUNNING SUCCEEDED" {
			t.Fatalf("states = %s: %s", got, b.far.reasons("a"))
		}
		if got := times[1].Sub(times[0]); got != 7*time.Second {
			t.Errorf("asked again after %v, want what Retry-After said", got)
		}
	})
}

func TestChatEndings(t *testing.T) {
	limited := chatJob("x")
	limited.Spec.Timeout = durationpb.New(5 * time.Second)
	for _, c := range []struct {
		name   string
		job    *orchionv1.JobAssignment
		status int
		body   string
		cancel bool
		state  orchionv1.AttemptState
		reason string
		class  string
	}{
		{"unknown model", chatJob("x"), http.StatusNotFound, `{"error":{"message":"there is no model tiny"}}`, false,
			orchionv1.AttemptState_ATTEMPT_STATE_FAILED, "the gateway answers 404: there is no model tiny", "INVALID"},
		{"not JSON", chatJob("x"), http.StatusOK, "<html>", false, orchionv1.AttemptState_ATTEMPT_STATE_FAILED, "the gateway's answer is not JSON", "ENGINE"},
		{"no choice", chatJob("x"), http.StatusOK, "{}", false, orchionv1.AttemptState_ATTEMPT_STATE_FAILED, "the model's answer holds no choices", "ENGINE"},
		{"never ready", chatJob("x"), http.StatusServiceUnavailable, "", false, orchionv1.AttemptState_ATTEMPT_STATE_FAILED, "the gateway answers Service Unavailable", "ENGINE"},
		{"too slow", limited, http.StatusServiceUnavailable, "", false, orchionv1.AttemptState_ATTEMPT_STATE_FAILED, "timed out after 5s", "TIMEOUT"},
		{"cancelled", chatJob("x"), http.StatusServiceUnavailable, "", true, orchionv1.AttemptState_ATTEMPT_STATE_CANCELLED, "", "UNSPECIFIED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, withGateway(func(*http.Request) (int, http.Header, string) { return c.status, nil, c.body }))
				defer b.close()
				b.assign(c.job)
				b.live(time.Second)
				if c.cancel {
					b.CancelAttempt(&orchionv1.CancelAttempt{Ref: ref("x")})
				}
				b.live(chatPatience + time.Minute)
				end := b.far.last("x")
				if end.GetState() != c.state || !strings.Contains(end.GetReason(), c.reason) || (c.reason == "" && end.GetReason() != "") {
					t.Errorf("end = %v, want %v with the reason %q", end, c.state, c.reason)
				}
				if got := strings.TrimPrefix(end.GetFailure().String(), "FAILURE_CLASS_"); got != c.class {
					t.Errorf("class = %s, want %s", got, c.class)
				}
			})
		})
	}
}
