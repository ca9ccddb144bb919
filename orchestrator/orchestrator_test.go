package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// instance is an orchestrator that runs.
type instance struct {
	Addresses
	dir    string
	client *http.Client
	conn   *grpc.ClientConn
	stop   func() error // graceful; may be called again
}

func testConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Port, cfg.HTTPPort, cfg.DataDir = 0, 0, dir
	return cfg
}

func run(t *testing.T, cfg Config) *instance {
	t.Helper()
	ready := make(chan Addresses, 1)
	cfg.OnReady = func(a Addresses) { ready <- a }
	o, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	i := &instance{dir: cfg.DataDir, client: &http.Client{Transport: &http.Transport{}}}
	var result error
	stopped := false
	i.stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			result = <-ended
			i.client.CloseIdleConnections()
			if i.conn != nil {
				i.conn.Close()
			}
		}
		return result
	}
	t.Cleanup(func() {
		if err := i.stop(); err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	select {
	case i.Addresses = <-ready:
	case err := <-ended:
		stopped = true
		cancel()
		t.Fatalf("Run ended before it was ready: %v", err)
	}
	if i.conn, err = grpc.NewClient(i.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	return i
}

func (i *instance) get(t *testing.T, path string) (int, string) {
	t.Helper()
	resp, err := i.client.Get(i.HTTP + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestRunServesAndStops(t *testing.T) {
	o := run(t, testConfig(t.TempDir()))
	for path, want := range map[string]string{
		"/healthz":     "ok",
		"/readyz":      "ready",
		"/api/version": `"grpcAddress":"` + o.GRPC + `"`,
		"/api/nodes":   `{"nodes":[],"nextPageToken":"","totalSize":0}`,
		"/v1/models":   `"data":[]`,
		"/metrics":     "orchion_jobs_queued 0",
		"/":            "<title>Orchion</title>",
	} {
		if code, body := o.get(t, path); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s answers %d %.300q, want %q in it", path, code, body, want)
		}
	}

	var written struct {
		GRPCAddress, HTTPURL, Version string
		PID                           int
		StartedAt                     time.Time
	}
	data, err := os.ReadFile(filepath.Join(o.dir, "orchestrator.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &written); err != nil {
		t.Fatal(err)
	}
	if written.GRPCAddress != o.GRPC || written.HTTPURL != o.HTTP || written.PID != os.Getpid() || written.StartedAt.IsZero() {
		t.Errorf("orchestrator.json is %s", data)
	}

	// Open streams do not keep it from stopping, and learn why they end.
	ctx := t.Context()
	stream, err := orchionv1.NewEventsClient(o.conn).WatchEvents(ctx, &orchionv1.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	resp, err := o.client.Get(o.HTTP + "/api/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := o.stop(); err != nil {
		t.Fatalf("Run ended with %v", err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Errorf("the event stream ended with %v, not in order", err)
	}
	if _, err := os.Stat(filepath.Join(o.dir, "orchestrator.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("orchestrator.json is left behind: %v", err)
	}
}

// TestChangesAreTold: queues and schedules have events, also when they are gone.
func TestChangesAreTold(t *testing.T) {
	o := run(t, testConfig(t.TempDir()))
	ctx := t.Context()
	stream, err := orchionv1.NewEventsClient(o.conn).WatchEvents(ctx, &orchionv1.WatchEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil { // subscribed
		t.Fatal(err)
	}
	queues, schedules := orchionv1.NewQueuesClient(o.conn), orchionv1.NewSchedulesClient(o.conn)
	spec := &orchionv1.JobSpec{Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{Image: "x"}}}
	for _, change := range []func() error{
		func() error { _, err := queues.PutQueue(ctx, &orchionv1.PutQueueRequest{Name: "night"}); return err },
		func() error {
			_, err := queues.DeleteQueue(ctx, &orchionv1.DeleteQueueRequest{Name: "night"})
			return err
		},
		func() error {
			_, err := schedules.PutSchedule(ctx, &orchionv1.PutScheduleRequest{
				Name: "night", Cron: "@yearly", Template: &orchionv1.JobTemplate{Spec: spec},
			})
			return err
		},
		func() error {
			_, err := schedules.DeleteSchedule(ctx, &orchionv1.DeleteScheduleRequest{Name: "night"})
			return err
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
	}
	wanted := map[string]bool{"queue UPDATED": true, "queue REMOVED": true, "schedule UPDATED": true, "schedule REMOVED": true}
	for len(wanted) > 0 {
		e, err := stream.Recv()
		if err != nil {
			t.Fatalf("%v, and these were not told: %v", err, wanted)
		}
		kind := strings.TrimPrefix(e.GetType().String(), "EVENT_TYPE_")
		if e.GetQueue().GetName() == "night" {
			delete(wanted, "queue "+kind)
		}
		if e.GetSchedule().GetName() == "night" {
			delete(wanted, "schedule "+kind)
		}
	}
}

func TestRestartKeepsNodesAndJobs(t *testing.T) {
	dir := t.TempDir()
	first := run(t, testConfig(dir))
	ctx := t.Context()
	nodes, jobs := orchionv1.NewOrchestratorClient(first.conn), orchionv1.NewJobsClient(first.conn)
	if _, err := nodes.RegisterNode(ctx, &orchionv1.RegisterNodeRequest{Node: &orchionv1.Node{Id: "n1", Hostname: "one"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := nodes.DrainNode(ctx, &orchionv1.DrainNodeRequest{Id: "n1"}); err != nil {
		t.Fatal(err)
	}
	job, err := jobs.SubmitJob(ctx, &orchionv1.SubmitJobRequest{Name: "later", Spec: &orchionv1.JobSpec{
		Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{Image: "alpine"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}

	second := run(t, testConfig(dir))
	nodes, jobs = orchionv1.NewOrchestratorClient(second.conn), orchionv1.NewJobsClient(second.conn)
	if _, body := second.get(t, "/api/nodes"); !strings.Contains(body, `"nodes":[]`) {
		t.Errorf("a node that has not come back is active: %s", body)
	}
	if _, body := second.get(t, "/api/nodes?state=all"); !strings.Contains(body, `"state":"NODE_STATE_OFFLINE"`) || !strings.Contains(body, `"hostname":"one"`) {
		t.Errorf("the node is forgotten: %s", body)
	}
	_, err = nodes.Heartbeat(ctx, &orchionv1.HeartbeatRequest{NodeId: "n1"})
	if status.Code(err) != codes.NotFound {
		t.Errorf("a heartbeat after the restart answers %v, want NOT_FOUND", err)
	}
	again, err := nodes.RegisterNode(ctx, &orchionv1.RegisterNodeRequest{Node: &orchionv1.Node{Id: "n1", Hostname: "one"}})
	if err != nil || again.GetNode().GetState() != orchionv1.NodeState_NODE_STATE_DRAINING {
		t.Errorf("the drained node comes back as %v, %v", again, err)
	}
	kept, err := jobs.GetJob(ctx, &orchionv1.GetJobRequest{Id: job.GetId()})
	if err != nil || kept.GetState() != orchionv1.JobState_JOB_STATE_QUEUED || kept.GetName() != "later" {
		t.Errorf("the job is %v, %v", kept, err)
	}
}

// TestStreamEndsWithTheMembership holds that a node says anew what it holds
// when it was taken for gone, or its id for another's: on the stream that it
// had, nobody would ask it.
func TestStreamEndsWithTheMembership(t *testing.T) {
	cfg := testConfig(t.TempDir())
	cfg.HeartbeatTimeout = time.Second
	o := run(t, cfg)
	nodes := orchionv1.NewOrchestratorClient(o.conn)
	register := func(id, instance string) {
		t.Helper()
		if _, err := nodes.RegisterNode(t.Context(), &orchionv1.RegisterNodeRequest{
			Node: &orchionv1.Node{Id: id, Hostname: "one"}, InstanceId: instance,
		}); err != nil {
			t.Fatal(err)
		}
	}
	connect := func(id, instance string) orchionv1.NodeSession_ConnectClient {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		t.Cleanup(cancel)
		ctx = metadata.AppendToOutgoingContext(ctx, "orchion-node-id", id, "orchion-instance-id", instance)
		stream, err := orchionv1.NewNodeSessionClient(o.conn).Connect(ctx)
		if err != nil {
			t.Fatal(err)
		}
		hello := &orchionv1.ConnectRequest{Message: &orchionv1.ConnectRequest_Hello{Hello: &orchionv1.Hello{}}}
		if err := stream.Send(hello); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		return stream
	}
	for name, tc := range map[string]struct {
		then func(id string)
		code codes.Code
		text string
	}{
		"silent": {func(string) {}, codes.NotFound, "is offline: it left or its heartbeats stopped; register it again"},
		"left": {func(id string) {
			if _, err := nodes.DeregisterNode(t.Context(), &orchionv1.DeregisterNodeRequest{NodeId: id}); err != nil {
				t.Fatal(err)
			}
		}, codes.NotFound, "is offline"},
		"taken over": {func(id string) { register(id, "second") }, codes.Aborted, "was taken over by another node agent"},
	} {
		t.Run(name, func(t *testing.T) {
			id := strings.ReplaceAll(name, " ", "-")
			register(id, "first")
			stream := connect(id, "first")
			register(id, "first") // again, as when its labels change
			tc.then(id)
			_, err := stream.Recv()
			if st := status.Convert(err); st.Code() != tc.code || !strings.Contains(st.Message(), tc.text) {
				t.Errorf("the stream ended with %v, want %v with %q", err, tc.code, tc.text)
			}
		})
	}
}

func TestRunRefuses(t *testing.T) {
	wantRefusal := func(t *testing.T, cfg Config, text string) {
		t.Helper()
		o, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Run(t.Context()); fault.CodeOf(err) != fault.Unavailable || !strings.Contains(err.Error(), text) {
			t.Errorf("Run answers %v, want %q", err, text)
		}
	}
	o := run(t, testConfig(t.TempDir()))
	t.Run("a data directory in use", func(t *testing.T) {
		wantRefusal(t, testConfig(o.dir), "is in use by another orchestrator")
	})
	for flag, address := range map[string]string{"port": o.GRPC, "http-port": strings.TrimPrefix(o.HTTP, "http://")} {
		t.Run("a --"+flag+" in use", func(t *testing.T) {
			_, number, err := net.SplitHostPort(address)
			if err != nil {
				t.Fatal(err)
			}
			taken, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			cfg := testConfig(t.TempDir())
			if flag == "port" {
				cfg.Port = taken
			} else {
				cfg.HTTPPort = taken
			}
			wantRefusal(t, cfg, "port "+number+" on 127.0.0.1 is in use by another program; stop that one, or choose another port with --"+flag)
			// What was begun was taken back.
			run(t, testConfig(cfg.DataDir))
		})
	}
}

func TestValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"all interfaces":     {func(c *Config) { c.Listen = "0.0.0.0" }, "--listen: is 0.0.0.0, which other machines can reach"},
		"all, version 6":     {func(c *Config) { c.Listen = "::" }, "only loopback (127.0.0.1, ::1, localhost) is accepted"},
		"a public address":   {func(c *Config) { c.Listen = "192.0.2.1" }, "ssh -N -L 50051:localhost:50051"},
		"no address":         {func(c *Config) { c.Listen = "" }, `--listen: is ""; it must be an address of this machine`},
		"address with port":  {func(c *Config) { c.Listen = "127.0.0.1:80" }, "without a port"},
		"port":               {func(c *Config) { c.Port = 65536 }, "--port: is 65536; it must be between 0 and 65535"},
		"http port":          {func(c *Config) { c.HTTPPort = -1 }, "--http-port: is -1"},
		"one port for two":   {func(c *Config) { c.HTTPPort = c.Port }, "--http-port: is 50051, as is --port"},
		"heartbeat timeout":  {func(c *Config) { c.HeartbeatTimeout = time.Millisecond }, "--heartbeat-timeout: is 1ms; it must be between 1s and 1h0m0s"},
		"lease":              {func(c *Config) { c.LeaseTTL = time.Second }, "--lease-ttl: is 1s; it must be between 3s and 1h0m0s"},
		"shutdown timeout":   {func(c *Config) { c.ShutdownTimeout = time.Hour }, "--shutdown-timeout: is 1h0m0s"},
		"job history":        {func(c *Config) { c.JobHistory = time.Second }, "--job-history: is 1s; it must be between 1m and 36500d, or 0 to keep jobs for ever"},
		"max job history":    {func(c *Config) { c.MaxJobHistory = -1 }, "--max-job-history: is -1; it must be at least 1, or 0 for no limit"},
		"log retention":      {func(c *Config) { c.LogRetention = time.Second }, "--log-retention: is 1s; it must be between 1m and 36500d, or 0 to keep logs for ever"},
		"log bytes":          {func(c *Config) { c.LogMaxBytes = 1000 }, "--log-max-bytes: is 1000; it must be at least 1048576, or 0 for no limit"},
		"blob bytes":         {func(c *Config) { c.BlobMaxBytes = 1 }, "--blob-max-bytes: is 1; it must be between 1048576 and 1099511627776"},
		"artifact retention": {func(c *Config) { c.ArtifactRetention = time.Second }, "--artifact-retention: is 1s; it must be between 1m and 36500d, or 0 to keep artifacts as long as their jobs"},
		"artifact bytes":     {func(c *Config) { c.ArtifactMaxBytes = 21 << 30 }, "--artifact-max-bytes: is 22548578304; it must be between 1048576 and --blob-store-max-bytes, which is 21474836480"},
		"blob store bytes":   {func(c *Config) { c.BlobStoreMaxBytes = 5 << 20 }, "--blob-store-max-bytes: is 5242880; it must be at least --blob-max-bytes, which is 1073741824"},
		"job log bytes":      {func(c *Config) { c.JobLogMaxBytes = 0 }, "--job-log-max-bytes: is 0; it must be between 65536 and 1099511627776"},
		"nodes":              {func(c *Config) { c.MaxNodes = 0 }, "--max-nodes: is 0; it must be between 1 and 1000000"},
		"no data directory":  {func(c *Config) { c.DataDir = "" }, "--data-dir: is empty"},
		"every origin":       {func(c *Config) { c.AllowedOrigins = []string{"*"} }, `allowed-origins: has "*"; an origin is written as http://localhost:5173`},
		"host with a scheme": {func(c *Config) { c.AllowedHosts = []string{"http://x"} }, `allowed-hosts: has "http://x"`},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.DataDir = "somewhere"
			tc.change(&cfg)
			_, err := New(cfg)
			if fault.CodeOf(err) != fault.Invalid || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("New answers %v, want %q", err, tc.want)
			}
		})
	}
	for _, host := range []string{"127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"} {
		cfg := DefaultConfig()
		cfg.DataDir, cfg.Listen = "somewhere", host
		if _, err := New(cfg); err != nil {
			t.Errorf("--listen %s is refused: %v", host, err)
		}
	}
}
