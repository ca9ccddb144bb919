package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// containerFacts are what a container is started with, as far as the job says.
func containerFacts(c *orchionv1.ContainerSpec) [][]string {
	facts := [][]string{{"image", c.GetImage()}}
	add := func(name, text string) {
		if text != "" {
			facts = append(facts, []string{name, text})
		}
	}
	add("command", strings.Join(append(append([]string{}, c.GetCommand()...), c.GetArgs()...), " "))
	add("models", strings.Join(c.GetModels(), ", "))
	add("credentials", c.GetRegistryCredentials())
	add("user", c.GetUser())
	add("directory", c.GetWorkingDir())
	var volumes, folders, files []string
	for _, v := range c.GetVolumes() {
		text := v.GetName() + " at " + v.GetPath()
		if v.GetReadOnly() {
			text += " (read-only)"
		}
		volumes = append(volumes, text)
	}
	for _, m := range c.GetTmpfs() {
		folders = append(folders, fmt.Sprintf("%s (%s)", m.GetPath(), bytesText(m.GetSizeBytes())))
	}
	for _, f := range c.GetFiles() {
		files = append(files, fmt.Sprintf("%s (%s)", f.GetPath(), bytesText(f.GetSizeBytes())))
	}
	add("volumes", strings.Join(volumes, ", "))
	add("tmpfs", strings.Join(folders, ", "))
	add("files", strings.Join(files, ", "))
	var artifacts []string
	for _, a := range c.GetArtifacts() {
		artifacts = append(artifacts, a.GetPath())
	}
	add("artifacts", strings.Join(artifacts, ", "))
	return facts
}

// processFacts are what a program of the node is started with.
func processFacts(p *orchionv1.ProcessSpec) [][]string {
	facts := [][]string{{"process", strings.Join(append([]string{p.GetCommand()}, p.GetArgs()...), " ")}}
	if len(p.GetModels()) > 0 {
		facts = append(facts, []string{"models", strings.Join(p.GetModels(), ", ")})
	}
	if p.GetWorkingDir() != "" {
		facts = append(facts, []string{"directory", p.GetWorkingDir()})
	}
	return facts
}

// limitFacts are how long a job may take, when it says so, and how often it is
// tried.
func limitFacts(spec *orchionv1.JobSpec) [][]string {
	var facts [][]string
	add := func(name string, d *durationpb.Duration) {
		if d.AsDuration() > 0 {
			facts = append(facts, []string{name, d.AsDuration().String()})
		}
	}
	add("queue timeout", spec.GetQueueTimeout())
	add("start timeout", spec.GetStartTimeout())
	add("timeout", spec.GetTimeout())
	if spec.GetPreemptible() {
		facts = append(facts, []string{"preemptible", "by jobs of a higher priority"})
	}
	if n := spec.GetRetry().GetMaxAttempts(); n > 1 {
		facts = append(facts, []string{"tries", fmt.Sprint(n)})
	}
	return facts
}
