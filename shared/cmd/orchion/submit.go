package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// submission is what the flags of job submit say.
type submission struct {
	name, key         string
	labels            []string
	image, pull       string
	command           string
	process           string
	credentials       string
	env, models       []string
	chat, system      string
	maxTokens         int32
	cpu, memory       string
	gpus              int32
	gpuMemory         string
	constraints       []string
	placement         string
	affinities        []string
	avoidJobs         string
	queue             string
	tolerations       []string
	priority, retries int32
	preemptible       bool
	retryOn           []string
	finalCodes        []int32
	timeout           time.Duration
	startTimeout      time.Duration
	stopGrace         time.Duration
	startAfter        string
	queueTimeout      time.Duration
	after             []string
	count             int32
	follow            bool
	file              string
	set               []string
	workdir, user     string
	tmpfs, volumes    []string
	files             []string
	shm, disk         string
	artifacts         []string
	optionalArtifacts []string

	// uploads are what the request needs to be uploaded before.
	uploads uploads
}

func (c *cli) jobSubmit() *cobra.Command {
	var s submission
	cmd := &cobra.Command{
		Use:   "submit {-f FILE [--set NAME=VALUE...] | --image IMAGE [-- ARG...] | --chat MODEL PROMPT... | --process PROGRAM [-- ARG...]}",
		Short: "Submit a job: a container, one prompt to a model, or a program of the node",
		Long: "Submits a job and prints its id, or with --count that of the array; with --follow also its log, and ends with its exit code.\n" +
			"What follows -- are the arguments of the container or program. With --model the job may call that model:\n" +
			"OPENAI_BASE_URL and OPENAI_API_KEY are then in its environment.\n" +
			"A file holds a whole job as YAML or JSON; docs/jobs.md describes it.",
		Example: "  orchion job submit --image docker.io/library/busybox -- echo hello\n" +
			"  orchion job submit --follow --image my-agent --model qwen3:0.6b --env TASK=tidy --memory 512MiB\n" +
			"  orchion job submit --follow --chat qwen3:0.6b \"Name three rivers\"\n" +
			"  orchion job submit --image renderer --count 100 --queue night --after 0199d1f2-...\n" +
			"  orchion job submit --image trainer --gpus 1 --constraint 'gpu.memory>=16GiB' --retry 3\n" +
			"  orchion job submit --image my-tool --input data.csv:/in/data.csv --volume cache:/cache -- /in/data.csv\n" +
			"  orchion job submit --process ffmpeg -- -i in.mp4 out.webm\n" +
			"  orchion job submit -f job.yaml --set city=Oslo",
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := s.request(cmd, args)
			if err != nil {
				return err
			}
			if s.follow && request.Count != nil {
				return errFollowsOne
			}
			if err := c.upload(cmd.Context(), s.uploads, cmd.ErrOrStderr()); err != nil {
				return err
			}
			j := &orchionv1.Job{}
			if err := c.client().call(cmd.Context(), http.MethodPost, "/api/jobs", nil, request, j); err != nil {
				return err
			}
			if s.follow {
				err := c.follow(cmd.Context(), j.GetId(), cmd.OutOrStdout(), cmd.ErrOrStderr())
				if cmd.Context().Err() != nil {
					_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "The job goes on; stop it with: orchion job cancel %s\n", j.GetId()) // we are leaving anyway
				}
				return err
			}
			return c.show(cmd.OutOrStdout(), j, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, cmp.Or(j.GetArrayId(), j.GetId()))
				return err
			})
		},
	}
	s.flags(cmd)
	cmd.Flags().BoolVar(&s.follow, "follow", false, "print its log until it has ended, and end with its exit code")
	return cmd
}

// flags are those that describe a job.
func (s *submission) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&s.file, "file", "f", "", "a job as YAML or JSON; - for stdin")
	f.StringArrayVar(&s.set, "set", nil, "with -f: a parameter of the file, NAME=VALUE (repeatable)")
	f.StringVar(&s.image, "image", "", "the container's image")
	f.StringVar(&s.command, "command", "", "replaces the image's entrypoint, split at spaces")
	f.StringArrayVarP(&s.env, "env", "e", nil, "an environment variable, NAME=VALUE (repeatable)")
	f.StringArrayVarP(&s.models, "model", "m", nil, "a model that the job may call (repeatable)")
	f.StringVar(&s.pull, "pull", "missing", "when to pull the image: missing, always, never")
	f.StringVar(&s.credentials, "registry-credentials", "", "credentials of the node for the image's registry, by their name there")
	f.StringVar(&s.chat, "chat", "", "ask this model instead of running a container; the arguments are the prompt")
	f.StringVar(&s.process, "process", "", "run this program on the node itself, in no container, where the node's policy allows it: its name there or its path")
	f.StringVar(&s.system, "system", "", "with --chat: what the model is told first")
	f.Int32Var(&s.maxTokens, "max-tokens", 0, "with --chat: the longest answer; 0: the model's own limit")
	f.StringVar(&s.name, "name", "", "a name for people")
	f.StringArrayVarP(&s.labels, "label", "l", nil, "a label, key=value (repeatable)")
	f.StringVar(&s.key, "idempotency-key", "", "submitting again with the same key answers the same job")
	f.StringVar(&s.cpu, "cpu", "", "cores, such as 0.5 or 2")
	f.StringVar(&s.memory, "memory", "", "memory, such as 512MiB or 2GiB")
	f.Int32Var(&s.gpus, "gpus", 0, "how many GPUs")
	f.StringVar(&s.gpuMemory, "gpu-memory", "", "memory of each GPU, such as 16GiB")
	f.StringArrayVar(&s.constraints, "constraint", nil, "where it may run, such as os=linux or 'label.room in (office,lab)' (repeatable)")
	f.StringArrayVar(&s.tolerations, "tolerate", nil, "a taint that does not keep it away from a node, or '*' for all (repeatable)")
	f.StringVar(&s.placement, "placement", "", "which of the machines that fit: "+strings.Join(placements, " or ")+" (default: as the orchestrator is set)")
	f.StringArrayVar(&s.affinities, "affinity", nil, "which machines are better by so many points, WEIGHT:CONSTRAINT such as '40:label.disk=ssd', or worse, '-40:os=windows' (repeatable)")
	f.StringVar(&s.avoidJobs, "avoid-jobs", "", "labels of jobs that it must not share a machine with, such as app=db")
	f.StringVar(&s.queue, "queue", "", "the queue that it waits in (default: default)")
	f.Int32Var(&s.priority, "priority", 0, "higher first within its queue, -1000 to 1000")
	f.BoolVar(&s.preemptible, "preemptible", false, "a job of its queue with a higher priority may stop it to have its room; it is then queued again")
	f.Int32Var(&s.retries, "retry", 0, "how many attempts it gets when it fails; 0 or 1: one")
	f.StringSliceVar(&s.retryOn, "retry-on", nil, "after which failures it is tried again: "+strings.Join(retryClasses, ", ")+" (default: all but image)")
	f.Int32SliceVar(&s.finalCodes, "no-retry-exit-code", nil, "an exit code after which it is not tried again (repeatable)")
	f.DurationVar(&s.timeout, "timeout", 0, "how long one attempt may run, such as 10m; 0: without end")
	f.StringVar(&s.startAfter, "start-after", "", "when it may start: a time such as 2026-01-02T15:04:05Z, or from now, such as 30m")
	f.DurationVar(&s.queueTimeout, "queue-timeout", 0, "how long it may wait for a node before it fails, such as 1h; 0: without end")
	f.StringArrayVar(&s.after, "after", nil, "a job or array that must succeed first, or with :end only end: ID or ID:end (repeatable)")
	f.Int32Var(&s.count, "count", 0, "submit so many at once, as an array; each has its number in ORCHION_ARRAY_INDEX")
	f.DurationVar(&s.startTimeout, "start-timeout", 0, "how long pulling and starting may take; 0: 1h")
	f.DurationVar(&s.stopGrace, "stop-grace", 0, "how long it may take to end when it is cancelled, before it is killed; 0: 10s")
	f.StringVarP(&s.workdir, "workdir", "w", "", "where the program begins; default: the image's")
	f.StringVarP(&s.user, "user", "u", "", "as whom it runs, USER or USER:GROUP; default: the image's")
	f.StringArrayVar(&s.files, "input", nil, "a file of this machine to put into the container, LOCAL:PATH; large ones are uploaded before (repeatable)")
	f.StringArrayVar(&s.artifacts, "artifact", nil, "what to keep of the container's files: a file, a folder or a pattern such as '/out/**/*.csv', PATH or PATH:NAME (repeatable)")
	f.StringArrayVar(&s.optionalArtifacts, "optional-artifact", nil, "as --artifact, for what need not be there (repeatable)")
	f.StringArrayVar(&s.volumes, "volume", nil, "a named volume of the node, NAME:PATH or NAME:PATH:ro (repeatable)")
	f.StringArrayVar(&s.tmpfs, "tmpfs", nil, "an empty folder in memory, PATH or PATH:SIZE (repeatable)")
	f.StringVar(&s.shm, "shm", "", "size of /dev/shm, such as 1GiB")
	f.StringVar(&s.disk, "disk", "", "free disk space that the node must have, such as 20GiB")
}

var pullPolicies = map[string]orchionv1.PullPolicy{
	"missing": orchionv1.PullPolicy_PULL_POLICY_IF_NOT_PRESENT,
	"always":  orchionv1.PullPolicy_PULL_POLICY_ALWAYS,
	"never":   orchionv1.PullPolicy_PULL_POLICY_NEVER,
}

// request is what the flags ask for. Upload what it needs before.
func (s *submission) request(cmd *cobra.Command, args []string) (*orchionv1.SubmitJobRequest, error) {
	s.uploads = uploads{}
	request, err := s.describe(cmd, args)
	if err == nil {
		s.uploads.fit(request.GetSpec().GetContainer())
	}
	return request, err
}

// describe makes the request of the flags.
func (s *submission) describe(cmd *cobra.Command, args []string) (*orchionv1.SubmitJobRequest, error) {
	labels, err := keyValues("label", s.labels)
	if err != nil {
		return nil, err
	}
	if s.file != "" {
		return s.fromFile(cmd, args, labels)
	}
	if len(s.set) > 0 {
		return nil, usagef("--set goes with -f FILE")
	}
	spec := &orchionv1.JobSpec{Constraints: s.constraints, Tolerations: s.tolerations, Queue: s.queue, Priority: s.priority, Preemptible: s.preemptible, AvoidJobs: s.avoidJobs}
	switch {
	case one(s.image, s.chat, s.process) != nil:
		return nil, one(s.image, s.chat, s.process)
	case s.process != "":
		if spec.Kind, err = s.processKind(cmd, args); err != nil {
			return nil, err
		}
	case s.chat != "":
		if len(args) == 0 {
			return nil, usagef("--chat needs a prompt: orchion job submit --chat %s \"...\"", s.chat)
		}
		chat := &orchionv1.ChatSpec{Model: s.chat, MaxTokens: s.maxTokens}
		if s.system != "" {
			chat.Messages = append(chat.Messages, &orchionv1.ChatMessage{Role: "system", Content: s.system})
		}
		chat.Messages = append(chat.Messages, &orchionv1.ChatMessage{Role: "user", Content: strings.Join(args, " ")})
		spec.Kind = &orchionv1.JobSpec_Chat{Chat: chat}
	default:
		env, err := keyValues("env", s.env)
		if err != nil {
			return nil, err
		}
		policy, ok := pullPolicies[s.pull]
		if !ok {
			return nil, usagef("--pull is %q; it must be missing, always or never", s.pull)
		}
		container := &orchionv1.ContainerSpec{
			Image: s.image, Command: strings.Fields(s.command), Args: args, Env: env, PullPolicy: policy, Models: s.models,
			RegistryCredentials: s.credentials,
		}
		if s.stopGrace != 0 {
			container.StopGrace = durationpb.New(s.stopGrace)
		}
		if err := s.surround(container); err != nil {
			return nil, err
		}
		spec.Kind = &orchionv1.JobSpec_Container{Container: container}
	}
	if spec.Resources, err = s.resources(); err != nil {
		return nil, err
	}
	if spec.Retry, err = s.retry(); err != nil {
		return nil, err
	}
	if s.timeout > 0 {
		spec.Timeout = durationpb.New(s.timeout)
	}
	if s.startTimeout != 0 {
		spec.StartTimeout = durationpb.New(s.startTimeout)
	}
	if spec.StartAfter, err = parseStartAfter(s.startAfter, time.Now()); err != nil {
		return nil, err
	}
	if s.queueTimeout > 0 {
		spec.QueueTimeout = durationpb.New(s.queueTimeout)
	}
	if spec.After, err = parseAfter(s.after); err != nil {
		return nil, err
	}
	if spec.Affinities, err = parseAffinities(s.affinities); err != nil {
		return nil, err
	}
	if spec.Placement, err = parsePlacement(s.placement); err != nil {
		return nil, err
	}
	request := &orchionv1.SubmitJobRequest{Name: s.name, Labels: labels, IdempotencyKey: s.key, Spec: spec}
	if s.count != 0 {
		request.Count = &s.count
	}
	return request, nil
}

// besideFile are the flags that go with a job file.
var besideFile = []string{
	"file", "set", "name", "label", "idempotency-key", "follow", "url", "output", "download",
	"cron", "time-zone", "overlap", "paused", // of schedule apply
}

// fromFile reads the job from a file. Flags may name it anew, and add labels.
func (s *submission) fromFile(cmd *cobra.Command, args []string, labels map[string]string) (*orchionv1.SubmitJobRequest, error) {
	var wrong error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if !slices.Contains(besideFile, f.Name) && wrong == nil {
			wrong = usagef("--%s does not go with -f; say it in the file", f.Name)
		}
	})
	if wrong != nil {
		return nil, wrong
	}
	if len(args) > 0 {
		return nil, usagef("arguments do not go with -f; say them in the file")
	}
	request, err := loadJob(s.file, s.set, s.uploads)
	if err != nil {
		return nil, err
	}
	request.Name, request.IdempotencyKey = cmp.Or(s.name, request.GetName()), cmp.Or(s.key, request.GetIdempotencyKey())
	if len(labels) > 0 && request.Labels == nil {
		request.Labels = map[string]string{}
	}
	maps.Copy(request.Labels, labels)
	return request, nil
}

// surround adds what the container's program finds around it.
func (s *submission) surround(container *orchionv1.ContainerSpec) error {
	container.WorkingDir, container.User = s.workdir, s.user
	var err error
	if container.ShmBytes, err = parseSize("shm", s.shm); err != nil {
		return err
	}
	for _, text := range s.tmpfs {
		path, size, _ := strings.Cut(text, ":")
		bytes, err := parseSize("tmpfs", size)
		if err != nil {
			return err
		}
		container.Tmpfs = append(container.Tmpfs, &orchionv1.TmpfsMount{Path: path, SizeBytes: bytes})
	}
	for _, text := range s.volumes {
		parts := strings.Split(text, ":")
		if len(parts) < 2 || len(parts) > 3 || len(parts) == 3 && parts[2] != "ro" {
			return usagef("--volume is %q; write NAME:PATH or NAME:PATH:ro", text)
		}
		container.Volumes = append(container.Volumes, &orchionv1.VolumeMount{Name: parts[0], Path: parts[1], ReadOnly: len(parts) == 3})
	}
	for _, text := range s.files {
		// The last colon: a path of Windows has one of its own.
		at := strings.LastIndex(text, ":")
		if at <= 0 || at == len(text)-1 {
			return usagef("--input is %q; write LOCAL:PATH", text)
		}
		file, err := s.uploads.take(text[:at])
		if err != nil {
			return usagef("--input %s: %w", text[:at], err)
		}
		file.Path = text[at+1:]
		container.Files = append(container.Files, file)
	}
	for _, list := range []struct {
		flag     string
		texts    []string
		optional bool
	}{{"artifact", s.artifacts, false}, {"optional-artifact", s.optionalArtifacts, true}} {
		for _, text := range list.texts {
			spec, err := artifactSpec(list.flag, text, list.optional)
			if err != nil {
				return err
			}
			container.Artifacts = append(container.Artifacts, spec)
		}
	}
	return nil
}
