package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

const goodJob = `{"name":"hello","labels":{"team":"a"},"spec":{"container":{"image":"alpine"}}}`

// submit queues a job over REST and answers its id.
func (h *harness) submit(t *testing.T, body string) string {
	t.Helper()
	var j struct{ ID, State string }
	a := h.call(t, http.MethodPost, "/api/jobs", body)
	a.decode(t, &j)
	if a.status != http.StatusOK || j.ID == "" {
		t.Fatalf("submitting answers %d %s", a.status, a.body)
	}
	return j.ID
}

func TestSubmitRefusesBadInput(t *testing.T) {
	h := newHarness(t, settings{})
	container := func(rest string) string { return `{"spec":{"container":{"image":"alpine"` + rest + `}}}` }
	spec := func(rest string) string { return `{"spec":{"container":{"image":"alpine"}` + rest + `}}` }
	chat := func(rest string) string { return `{"spec":{"chat":{"model":"m"` + rest + `}}}` }
	const hi = `,"messages":[{"role":"user","content":"hi"}]`
	list := func(n int, entry string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	env := func(n int) string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprint("K", i)] = "v"
		}
		return mustJSON(m)
	}
	for name, tc := range map[string]struct{ body, want string }{
		"no spec":             {`{}`, "spec: must hold one of container, chat and process"},
		"two kinds":           {`{"spec":{"container":{"image":"a"},"chat":{"model":"m"}}}`, "body: "},
		"name long":           {`{"name":"` + strings.Repeat("n", 129) + `","spec":{"container":{"image":"a"}}}`, "name: has 129 bytes; at most 128 are allowed"},
		"name control":        {`{"name":"a\u0007","spec":{"container":{"image":"a"}}}`, "name: holds characters that cannot be printed"},
		"labels":              {mustJSON(map[string]any{"labels": manyLabels(65)}), "labels: has 65 entries"},
		"key long":            {`{"idempotencyKey":"` + strings.Repeat("k", 256) + `"}`, "idempotencyKey: has 256 bytes; at most 255 are allowed"},
		"no image":            {`{"spec":{"container":{}}}`, "spec.container.image: must not be empty"},
		"odd image":           {`{"spec":{"container":{"image":"Not An Image"}}}`, `spec.container.image: is "Not An Image", which is not the name of an image`},
		"image flag":          {`{"spec":{"container":{"image":"--privileged"}}}`, "spec.container.image: is"},
		"many args":           {container(`,"args":` + list(1025, `"a"`)), "spec.container.args: has 1025 entries; at most 1024 are allowed"},
		"long args":           {container(`,"args":["` + strings.Repeat("a", 300_000) + `"]`), "spec.container.args: has 300000 bytes together; at most 262144 are allowed"},
		"NUL in command":      {container(`,"command":["ok","a\u0000b"]`), "spec.container.command[1]: holds a NUL character"},
		"many env":            {container(`,"env":` + env(257)), "spec.container.env: has 257 entries; at most 256 are allowed"},
		"env name":            {container(`,"env":{"A=B":"x"}`), `spec.container.env: has the name "A=B"`},
		"env digit":           {container(`,"env":{"1A":"x"}`), "not starting with a digit"},
		"env reserved":        {container(`,"env":{"ORCHION_JOB_ID":"x"}`), "names starting with ORCHION_ are set by Orchion itself"},
		"env long":            {container(`,"env":{"A":"` + strings.Repeat("a", 300_000) + `"}`), "spec.container.env: has 300001 bytes together"},
		"env NUL":             {container(`,"env":{"A":"x\u0000"}`), `a value for "A" with a NUL character`},
		"pull policy":         {container(`,"pullPolicy":9`), "spec.container.pullPolicy: is 9; allowed are PULL_POLICY_IF_NOT_PRESENT, PULL_POLICY_ALWAYS, PULL_POLICY_NEVER"},
		"many models":         {container(`,"models":` + list(33, `"m"`)), "spec.container.models: has 33 entries"},
		"model with a space":  {container(`,"models":["a b"]`), `spec.container.models[0]: is "a b"; the name of a model holds no spaces`},
		"chat without model":  {`{"spec":{"chat":{}}}`, "spec.chat.model: must not be empty"},
		"chat without prompt": {chat(""), "spec.chat.messages: must hold at least one message"},
		"role":                {chat(`,"messages":[{"role":"robot"}]`), `spec.chat.messages[0].role: is "robot"; allowed are system, user, assistant`},
		"tokens":              {chat(`,"maxTokens":-1` + hi), "spec.chat.maxTokens: is -1; it must not be negative"},
		"temperature":         {chat(`,"temperature":9` + hi), "spec.chat.temperature: is 9; it must be between 0 and 2"},
		"temperature NaN":     {chat(`,"temperature":"NaN"` + hi), "spec.chat.temperature: is NaN"},
		"cpu":                 {spec(`,"resources":{"cpuMillis":"-1"}`), "spec.resources.cpuMillis: is -1; it must not be negative"},
		"memory":              {spec(`,"resources":{"memoryBytes":"1024"}`), "spec.resources.memoryBytes: is 1024; container engines give no less than 6291456"},
		"gpus":                {spec(`,"resources":{"gpus":65}`), "spec.resources.gpus: is 65; it must be between 0 and 64"},
		"constraint":          {spec(`,"constraints":["os=linux","colour=red"]`), "spec.constraints[1]: "},
		"many constraints":    {spec(`,"constraints":` + list(33, `"os=linux"`)), "spec.constraints: has 33 entries"},
		"placement":           {spec(`,"placement":9`), "spec.placement: is 9; allowed are PLACEMENT_BINPACK, PLACEMENT_SPREAD"},
		"affinity":            {spec(`,"affinities":[{"constraint":"os=linux","weight":1},{"constraint":"colour=red","weight":1}]`), "spec.affinities[1].constraint: "},
		"affinity of nothing": {spec(`,"affinities":[{"weight":1}]`), "spec.affinities[0].constraint: must not be empty"},
		"affinity weightless": {spec(`,"affinities":[{"constraint":"os=linux"}]`), "spec.affinities[0].weight: is 0; it must be from 1 to 100, or negative down to -100"},
		"affinity heavy":      {spec(`,"affinities":[{"constraint":"os=linux","weight":-101}]`), "spec.affinities[0].weight: is -101; it must be"},
		"affinities":          {spec(`,"affinities":` + list(17, `{"constraint":"os=linux","weight":1}`)), "spec.affinities: has 17 entries; at most 16 are allowed"},
		"avoids":              {spec(`,"avoidJobs":"=db"`), `spec.avoidJobs: has no key in "=db"; write key=value, key!=value or key`},
		"avoids all others":   {spec(`,"avoidJobs":"app!=db"`), `spec.avoidJobs: is "app!=db", which only says what jobs must not have; add key=value or key`},
		"priority":            {spec(`,"priority":1001`), "spec.priority: is 1001; it must be between -1000 and 1000"},
		"attempts":            {spec(`,"retry":{"maxAttempts":101}`), "spec.retry.maxAttempts: is 101; it must be between 0 and 100"},
		"backoff":             {spec(`,"retry":{"initialBackoff":"-1s"}`), "spec.retry.initialBackoff: is -1s; it must be between 0s and 24h0m0s"},
		"after nothing":       {spec(`,"after":[{}]`), "spec.after[0].jobId: must not be empty"},
		"after no id":         {spec(`,"after":[{"jobId":"A/B"}]`), `spec.after[0].jobId: is "A/B", which is not the id of a job`},
		"after none":          {spec(`,"after":[{"jobId":"none"}]`), `spec.after[0].jobId: names "none", which does not exist; a job can only wait for jobs and arrays that were submitted before it`},
		"after twice":         {spec(`,"after":[{"jobId":"a"},{"jobId":"a"}]`), "spec.after[1].jobId: names a a second time"},
		"after what":          {spec(`,"after":[{"jobId":"a","on":9}]`), "spec.after[0].on: is 9; allowed are JOB_CONDITION_SUCCESS, JOB_CONDITION_END"},
		"after many":          {spec(`,"after":` + list(101, `{"jobId":"a"}`)), "spec.after: has 101 entries; at most 100 are allowed"},
		"count":               {`{"count":0,"spec":{"container":{"image":"a"}}}`, "count: is 0; it must be between 1 and 10000"},
		"count many":          {`{"count":10001,"spec":{"container":{"image":"a"}}}`, "count: is 10001; it must be between 1 and 10000"},
		"count large":         {`{"count":10000,"spec":{"container":{"image":"a","args":["` + strings.Repeat("a", 20_000) + `"]}}}`, "bytes each; at most 67108864 bytes are allowed together"},
		"start far ahead":     {spec(`,"startAfter":"2999-01-01T00:00:00Z"`), "spec.startAfter: is 2999-01-01T00:00:00Z, more than a year ahead; at the latest it may be "},
		"start no time":       {spec(`,"startAfter":"soon"`), "body: "},
		"queue timeout":       {spec(`,"queueTimeout":"0.5s"`), "spec.queueTimeout: is 500ms; it must be between 1s and 720h0m0s"},
		"backoffs swapped":    {spec(`,"retry":{"initialBackoff":"10s","maxBackoff":"5s"}`), "spec.retry.maxBackoff: is 5s, less than initialBackoff, which is 10s"},
		"retryOn invalid":     {spec(`,"retry":{"retryOn":["FAILURE_CLASS_INVALID"]}`), "spec.retry.retryOn[0]: is FAILURE_CLASS_INVALID; allowed are FAILURE_CLASS_EXIT_CODE, FAILURE_CLASS_OUT_OF_MEMORY, FAILURE_CLASS_IMAGE, FAILURE_CLASS_START, FAILURE_CLASS_TIMEOUT"},
		"retryOn engine":      {spec(`,"retry":{"retryOn":["FAILURE_CLASS_ENGINE"]}`), "spec.retry.retryOn[0]: is FAILURE_CLASS_ENGINE, which is no fault of the job and always tried again"},
		"retryOn unknown":     {spec(`,"retry":{"retryOn":[99]}`), "spec.retry.retryOn[0]: is 99; allowed are"},
		"retryOn twice":       {spec(`,"retry":{"retryOn":["FAILURE_CLASS_START","FAILURE_CLASS_START"]}`), "spec.retry.retryOn[1]: is FAILURE_CLASS_START, which the list holds already"},
		"final code":          {spec(`,"retry":{"noRetryExitCodes":[2,256]}`), "spec.retry.noRetryExitCodes[1]: is 256; it must be between 1 and 255"},
		"start timeout":       {spec(`,"startTimeout":"90000s"`), "spec.startTimeout: is 25h0m0s; it must be between 1s and 24h0m0s"},
		"grace":               {container(`,"stopGrace":"301s"`), "spec.container.stopGrace: is 5m1s; it must be between 1s and 5m0s"},
		"disk":                {spec(`,"resources":{"diskBytes":"-1"}`), "spec.resources.diskBytes: is -1; it must not be negative"},
		"vendor":              {spec(`,"resources":{"gpus":1,"gpuVendor":"amd"}`), `spec.resources.gpuVendor: is "amd"; allowed is nvidia`},
		"credentials":         {`{"spec":{"container":{"image":"a","registryCredentials":"a b"}}}`, `spec.container.registryCredentials: is "a b"; a name is 1 to 63`},
		"process":             {`{"spec":{"process":{}}}`, "spec.process.command: must not be empty"},
		"process by sentence": {`{"spec":{"process":{"command":"rm -rf"}}}`, `spec.process.command: is "rm -rf"; it must be a name in the policy of a node`},
		"process by dots":     {`{"spec":{"process":{"command":"../sh"}}}`, "or an absolute path"},
		"process directory":   {`{"spec":{"process":{"command":"sh","workingDir":"tmp"}}}`, `spec.process.workingDir: is "tmp"; it must be an absolute path`},
		"process environment": {`{"spec":{"process":{"command":"sh","env":{"ORCHION_X":"1"}}}}`, "spec.process.env: has the name"},
		"process grace":       {`{"spec":{"process":{"command":"sh","stopGrace":"600s"}}}`, "spec.process.stopGrace:"},
		"process model":       {`{"spec":{"process":{"command":"sh","models":["a b"]}}}`, "spec.process.models[0]:"},
		"vendor without GPU":  {spec(`,"resources":{"gpuVendor":"nvidia"}`), `spec.resources.gpuVendor: is "nvidia", but no GPU is asked for`},
		"working dir":         {container(`,"workingDir":"relative"`), `spec.container.workingDir: is "relative"; it must be an absolute path`},
		"user":                {container(`,"user":"a b"`), `spec.container.user: is "a b"; it must be USER or USER:GROUP`},
		"shm":                 {container(`,"shmBytes":"-5"`), "spec.container.shmBytes: is -5; it must not be negative"},
		"tmpfs path":          {container(`,"tmpfs":[{"path":"/a/../b"}]`), `spec.container.tmpfs[0].path: is "/a/../b"; it must be an absolute path`},
		"tmpfs root":          {container(`,"tmpfs":[{"path":"/"}]`), `spec.container.tmpfs[0].path: is "/"; it must be below that`},
		"tmpfs colon":         {container(`,"tmpfs":[{"path":"/a:b"}]`), `spec.container.tmpfs[0].path: is "/a:b"; container engines mount nothing`},
		"tmpfs size":          {container(`,"tmpfs":[{"path":"/a","sizeBytes":"1"}]`), "spec.container.tmpfs[0].sizeBytes: is 1; it must be between 4096 and"},
		"tmpfs count":         {container(`,"tmpfs":[` + strings.Repeat(`{},`, 16) + `{}]`), "spec.container.tmpfs: has 17 entries; at most 16 are allowed"},
		"volume name":         {container(`,"volumes":[{"name":"../etc","path":"/a"}]`), `spec.container.volumes[0].name: is "../etc"; a name is`},
		"volume twice":        {container(`,"tmpfs":[{"path":"/a"}],"volumes":[{"name":"v","path":"/a"}]`), `spec.container.volumes[0].path: is "/a", where there is a tmpfs already`},
		"volume in proc":      {container(`,"volumes":[{"name":"v","path":"/proc/x"}]`), `spec.container.volumes[0].path: is "/proc/x"; nothing can be put into /proc`},
		"file in dev":         {container(`,"files":[{"path":"/dev/shm/x"}]`), `spec.container.files[0].path: is "/dev/shm/x"; nothing can be put into /dev`},
		"file path empty":     {container(`,"files":[{}]`), "spec.container.files[0].path: must not be empty"},
		"file traversal":      {container(`,"files":[{"path":"/a/../../etc/passwd"}]`), `spec.container.files[0].path: is "/a/../../etc/passwd"; it must be an absolute path`},
		"file in a tmpfs":     {container(`,"tmpfs":[{"path":"/a"}],"files":[{"path":"/a/b/c"}]`), `spec.container.files[0].path: is "/a/b/c", which lies in /a, which is a tmpfs`},
		"file in a file":      {container(`,"files":[{"path":"/a/b"},{"path":"/a"}]`), `spec.container.files[1].path: is "/a", below which there is a file already`},
		"file below a file":   {container(`,"files":[{"path":"/a"},{"path":"/a/b"}]`), `spec.container.files[1].path: is "/a/b", which lies in /a, which is a file`},
		"file twice":          {container(`,"files":[{"path":"/a"},{"path":"/a"}]`), `spec.container.files[1].path: is "/a", where there is a file already`},
		"file mode":           {container(`,"files":[{"path":"/a","mode":2048}]`), "spec.container.files[0].mode: is 04000; it must be between 0 and 0777"},
		"files large":         {container(`,"files":[{"path":"/a","content":"` + strings.Repeat("QUFB", 349_526) + `"}]`), "spec.container.files: have 1048578 bytes of content together; at most 1048576 are allowed"},
		"timeout":             {spec(`,"timeout":"0.5s"`), "spec.timeout: is 500ms; it must be between 1s and 720h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			h.call(t, http.MethodPost, "/api/jobs", tc.body).
				wantError(t, http.StatusBadRequest, codes.InvalidArgument, tc.want)
		})
	}
}

func TestJobsOverREST(t *testing.T) {
	h := newHarness(t, settings{})
	first := h.submit(t, `{"idempotencyKey":"once",`+goodJob[1:])
	if again := h.submit(t, `{"idempotencyKey":"once",`+goodJob[1:]); again != first {
		t.Errorf("the same key answers %s and %s", first, again)
	}
	second := h.submit(t, `{"name":"nightly","spec":{"queue":"night","container":{"image":"alpine","pullPolicy":"PULL_POLICY_NEVER","args":["x"]},"constraints":["os=plan9"]}}`)

	var j struct {
		ID, Name, State, Reason string
		Spec                    struct {
			Container struct {
				PullPolicy string
				Args       []string
			}
		}
		Attempts []any
	}
	h.call(t, http.MethodGet, "/api/jobs/"+second, "").decode(t, &j)
	if j.State != "JOB_STATE_QUEUED" || j.Name == "" || j.Spec.Container.PullPolicy != "PULL_POLICY_NEVER" || j.Spec.Container.Args[0] != "x" || j.Attempts == nil || j.Reason == "" {
		t.Errorf("the job is %+v", j)
	}

	for query, want := range map[string]string{
		"":                       second + " " + first,
		"state=JOB_STATE_QUEUED": second + " " + first,
		"state=queued,running":   second + " " + first,
		"state=all":              second + " " + first,
		"state=running":          "",
		"label=team%3Da":         first,
		"label=team!%3Da":        second,
		"nodeId=n1":              "",
		"pageSize=1":             second,
		"queue=night":            second,
		"queue=default":          first,
		"queue=none":             "",
		"name=nightly":           second,
		"name=night":             "",
		"name=nightly&queue=default&state=queued": "",
	} {
		var page struct {
			Jobs          []struct{ ID string }
			NextPageToken string
		}
		h.call(t, http.MethodGet, "/api/jobs?"+query, "").decode(t, &page)
		var ids []string
		for _, j := range page.Jobs {
			ids = append(ids, j.ID)
		}
		if got := strings.Join(ids, " "); got != want || page.Jobs == nil {
			t.Errorf("%q answers %q, want %q", query, got, want)
		}
		if query == "pageSize=1" {
			h.call(t, http.MethodGet, "/api/jobs?pageSize=1&pageToken="+page.NextPageToken, "").decode(t, &page)
			if page.Jobs[0].ID != first || page.NextPageToken != "" {
				t.Errorf("the second page is %+v", page)
			}
		}
	}

	h.register(t, worker("n1"), "")
	var why struct {
		Summary string
		Nodes   []struct {
			NodeID  string
			Fits    bool
			Reasons []string
		}
	}
	h.call(t, http.MethodGet, "/api/jobs/"+second+"/explain", "").decode(t, &why)
	if why.Summary == "" || len(why.Nodes) != 1 || why.Nodes[0].Fits || !strings.Contains(strings.Join(why.Nodes[0].Reasons, " "), "os=plan9") {
		t.Errorf("the explanation is %+v", why)
	}

	for range 2 {
		h.call(t, http.MethodPost, "/api/jobs/"+second+":cancel", `{"reason":"a mistake"}`).decode(t, &j)
		if j.State != "JOB_STATE_CANCELLED" || !strings.Contains(j.Reason, "a mistake") {
			t.Errorf("cancelled it is %+v", j)
		}
	}
	h.call(t, http.MethodPost, "/api/jobs/"+second+":retry", "").decode(t, &j)
	if j.State != "JOB_STATE_QUEUED" {
		t.Errorf("retried it is %+v", j)
	}
	h.call(t, http.MethodPost, "/api/jobs/"+second+":cancel", `{"reason":"`+strings.Repeat("x", 1025)+`"}`).
		wantError(t, http.StatusBadRequest, codes.InvalidArgument, "reason: has 1025 bytes")
}

// TestPagesFitIntoAMessage lists jobs that are together larger than what a
// gRPC client takes in one message.
func TestPagesFitIntoAMessage(t *testing.T) {
	h := newHarness(t, settings{})
	const count = 2*listChunk + 1
	large := strings.Repeat("x", maxMessage/count)
	for range count {
		h.submit(t, `{"spec":{"container":{"image":"alpine","args":["`+large+`"]}}}`)
	}
	seen := make(map[string]bool)
	pages := 0
	for token := ""; pages == 0 || token != ""; pages++ {
		page, err := h.jobs.ListJobs(t.Context(), &orchionv1.ListJobsRequest{PageSize: maxPageSize, PageToken: token})
		if err != nil {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, j := range page.GetJobs() {
			seen[j.GetId()] = true
		}
		token = page.GetNextPageToken()
	}
	if len(seen) != count || pages != 2 {
		t.Errorf("%d of %d jobs in %d pages, want 2 pages", len(seen), count, pages)
	}
	page, err := h.jobs.ListJobs(t.Context(), &orchionv1.ListJobsRequest{PageSize: listChunk + 1})
	if err != nil || len(page.GetJobs()) != listChunk+1 || page.GetNextPageToken() == "" {
		t.Errorf("a page of %d holds %d, %v", listChunk+1, len(page.GetJobs()), err)
	}
}

func TestDeploymentsOverREST(t *testing.T) {
	h := newHarness(t, settings{})
	create := func(body string) answer { return h.call(t, http.MethodPost, "/api/deployments", body) }
	for name, tc := range map[string]struct{ body, want string }{
		"no spec":      {`{}`, "spec: must be given"},
		"no model":     {`{"spec":{"engine":"ENGINE_OLLAMA"}}`, "spec.model: must not be empty"},
		"no engine":    {`{"spec":{"model":"m"}}`, "spec.engine: is ENGINE_UNSPECIFIED; allowed are ENGINE_OLLAMA, ENGINE_VLLM, ENGINE_EXTERNAL"},
		"engine 9":     {`{"spec":{"model":"m","engine":9}}`, "spec.engine: is 9; allowed are"},
		"replicas":     {`{"spec":{"model":"m","engine":"ENGINE_VLLM","replicas":65}}`, "spec.replicas: is 65; it must be between 0 and 64"},
		"negative":     {`{"spec":{"model":"m","engine":"ENGINE_VLLM","replicas":-1}}`, "spec.replicas: is -1; it must not be negative"},
		"name":         {`{"name":"A_B","spec":{"model":"m","engine":"ENGINE_VLLM"}}`, `name: is "A_B"`},
		"image":        {`{"spec":{"model":"m","engine":"ENGINE_VLLM","image":"A B"}}`, "spec.image: is"},
		"constraint":   {`{"spec":{"model":"m","engine":"ENGINE_VLLM","constraints":["x"]}}`, "spec.constraints[0]: "},
		"nameless":     {`{"spec":{"model":"模型","engine":"ENGINE_VLLM"}}`, "name: is empty, and none can be made from the model's; give one of a-z 0-9 -"},
		"external arg": {`{"spec":{"model":"m","engine":"ENGINE_EXTERNAL","args":["x"]}}`, "spec.args: "},
	} {
		t.Run(name, func(t *testing.T) {
			create(tc.body).wantError(t, http.StatusBadRequest, codes.InvalidArgument, tc.want)
		})
	}

	var d struct {
		Name, State, Reason string
		Labels              map[string]string
		Spec                struct {
			Replicas *int
			Args     []string
		}
		Replicas []struct{ State, NodeID, Reason string }
	}
	const qwen = `{"labels":{"a":"b"},"spec":{"model":"qwen3:0.6b","engine":"ENGINE_OLLAMA"}}`
	for range 2 {
		create(qwen).decode(t, &d)
		if d.Name != "qwen3-0-6b" || d.State != "DEPLOYMENT_STATE_PENDING" || *d.Spec.Replicas != 1 || len(d.Replicas) != 1 {
			t.Fatalf("the deployment is %+v", d)
		}
	}
	create(`{"name":"qwen3-0-6b","spec":{"model":"other","engine":"ENGINE_OLLAMA"}}`).
		wantError(t, http.StatusConflict, codes.AlreadyExists, "exists and differs")
	create(`{"name":"more","spec":{"model":"m","engine":"ENGINE_VLLM","replicas":0}}`).decode(t, &d)
	if *d.Spec.Replicas != 0 {
		t.Errorf("replicas 0 becomes %d", *d.Spec.Replicas)
	}

	h.call(t, http.MethodPatch, "/api/deployments/qwen3-0-6b", `{"spec":{"replicas":2,"args":["--x"]}}`).decode(t, &d)
	if *d.Spec.Replicas != 2 || d.Spec.Args[0] != "--x" || d.Labels["a"] != "b" {
		t.Errorf("changed it is %+v", d)
	}
	h.call(t, http.MethodPatch, "/api/deployments/qwen3-0-6b", `{"spec":{"model":"other"}}`).
		wantError(t, http.StatusBadRequest, codes.InvalidArgument, "spec.model: is fixed (qwen3:0.6b); create another deployment")
	h.call(t, http.MethodPatch, "/api/deployments/qwen3-0-6b", `{"spec":{"replicas":65}}`).
		wantError(t, http.StatusBadRequest, codes.InvalidArgument, "spec.replicas: is 65")

	var page struct {
		Deployments   []struct{ Name string }
		NextPageToken string
	}
	h.call(t, http.MethodGet, "/api/deployments?pageSize=1", "").decode(t, &page)
	if len(page.Deployments) != 1 || page.Deployments[0].Name != "more" {
		t.Fatalf("the first page is %+v", page)
	}
	h.call(t, http.MethodGet, "/api/deployments?pageToken="+page.NextPageToken, "").decode(t, &page)
	if len(page.Deployments) != 1 || page.Deployments[0].Name != "qwen3-0-6b" || page.NextPageToken != "" {
		t.Errorf("the second page is %+v", page)
	}
	h.call(t, http.MethodGet, "/api/deployments?label=a", "").decode(t, &page)
	if len(page.Deployments) != 1 || page.Deployments[0].Name != "qwen3-0-6b" {
		t.Errorf("by label there are %+v", page)
	}
	if a := h.call(t, http.MethodDelete, "/api/deployments/more", ""); a.status != http.StatusOK {
		t.Errorf("DELETE answers %d %s", a.status, a.body)
	}
}

// An environment of 10 MB is refused before it is read, with the limit on a
// request, and one below that with the limit on environments.
func TestHugeEnvironment(t *testing.T) {
	h := newHarness(t, settings{})
	job := func(bytes int) string {
		return `{"spec":{"container":{"image":"alpine","env":{"A":"` + strings.Repeat("x", bytes) + `"}}}}`
	}
	h.call(t, http.MethodPost, "/api/jobs", job(10_000_000)).
		wantError(t, http.StatusRequestEntityTooLarge, codes.ResourceExhausted, "at most 4194304 are allowed")
	h.call(t, http.MethodPost, "/api/jobs", job(3_000_000)).
		wantError(t, http.StatusBadRequest, codes.InvalidArgument, "spec.container.env: has 3000001 bytes together; at most 262144 are allowed")
}

// What is in a job's files is for its node and for whoever asks for this one job.
func TestContentsOfFiles(t *testing.T) {
	h := newHarness(t, settings{})
	a := h.connect(t, "n1")
	id := h.submit(t, `{"spec":{"container":{"image":"alpine","files":[{"path":"/in/a","content":"aGVsbG8="}]}}}`)
	if files := a.receive().GetAssignJob().GetSpec().GetContainer().GetFiles(); len(files) != 1 || string(files[0].GetContent()) != "hello" || files[0].GetMode() != 0o644 {
		t.Errorf("the node gets %v", files)
	}
	j, err := h.jobs.GetJob(t.Context(), &orchionv1.GetJobRequest{Id: id})
	if err != nil || string(j.GetSpec().GetContainer().GetFiles()[0].GetContent()) != "hello" {
		t.Errorf("the job is %v, %v", j, err)
	}
	list, err := h.jobs.ListJobs(t.Context(), &orchionv1.ListJobsRequest{})
	if err != nil || len(list.GetJobs()) != 1 {
		t.Fatalf("the list is %v, %v", list, err)
	}
	if f := list.GetJobs()[0].GetSpec().GetContainer().GetFiles()[0]; len(f.GetContent()) != 0 || f.GetSizeBytes() != 5 || f.GetPath() != "/in/a" {
		t.Errorf("the list shows %v, want all but the content", f)
	}
}
