package node

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxTexts bounds how many texts are remembered, and maxTextLength how long
// they are. Over it remembering begins anew.
const (
	maxTexts      = 16_384
	maxTextLength = 128
)

// texts keeps each text once that many nodes say of themselves: they are of few
// kinds.
type texts map[string]string

// of answers an equal text, the one that was met first.
func (t texts) of(text string) string {
	if text == "" || len(text) > maxTextLength {
		return text
	}
	if known, met := t[text]; met {
		return known
	}
	if len(t) >= maxTexts {
		clear(t)
	}
	t[text] = text
	return text
}

// kinds keeps what whole groups of nodes say alike: texts, and lists and sets of them.
type kinds struct {
	texts    texts
	labels   map[string]map[string]string
	runtimes map[string][]Runtime
}

// maxSets bounds how many sets of labels and lists of runtimes are remembered, and
// maxSetLength how much they say. Over it remembering begins anew.
const (
	maxSets      = 4096
	maxSetLength = 1024
)

func newKinds() *kinds {
	return &kinds{texts: make(texts), labels: make(map[string]map[string]string), runtimes: make(map[string][]Runtime)}
}

// labelsOf answers equal labels, those that were met first. They are not to be
// changed, and are never those that were given.
func (k *kinds) labelsOf(given map[string]string) map[string]string {
	if len(given) == 0 {
		return given
	}
	var key strings.Builder
	for _, name := range slices.Sorted(maps.Keys(given)) {
		writeAll(&key, name, given[name])
	}
	return remember(k.labels, key.String(), func() map[string]string {
		labels := make(map[string]string, len(given))
		for name, value := range given {
			labels[k.texts.of(name)] = k.texts.of(value)
		}
		return labels
	})
}

// runtimesOf is labelsOf for container runtimes.
func (k *kinds) runtimesOf(given []Runtime) []Runtime {
	if len(given) == 0 {
		return nil
	}
	var key strings.Builder
	for _, r := range given {
		writeAll(&key, r.Name, r.Version, r.Endpoint, strconv.FormatBool(r.Rootless))
	}
	return remember(k.runtimes, key.String(), func() []Runtime {
		runtimes := exactly(given)
		for i := range runtimes {
			r := &runtimes[i]
			r.Name, r.Version, r.Endpoint = k.texts.of(r.Name), k.texts.of(r.Version), k.texts.of(r.Endpoint)
		}
		return runtimes
	})
}

// remember answers what is known under a key, or makes it.
func remember[T any](known map[string]T, key string, build func() T) T {
	if len(key) > maxSetLength {
		return build()
	}
	if value, met := known[key]; met {
		return value
	}
	if len(known) >= maxSets {
		clear(known)
	}
	value := build()
	known[key] = value
	return value
}

// writeAll appends texts so that no others read alike.
func writeAll(key *strings.Builder, all ...string) {
	for _, text := range all {
		key.WriteString(strconv.Quote(text))
	}
}

// share puts what others have said before in the place of what is equal. Maps and
// lists are made anew, and no larger than they have to be.
func (k *kinds) share(c *Capabilities) {
	t := k.texts
	for _, text := range []*string{&c.OS, &c.Arch, &c.Platform, &c.Kernel, &c.CPU.Model, &c.Disk.Path} {
		*text = t.of(*text)
	}
	c.GPUs = exactly(c.GPUs)
	for i := range c.GPUs {
		g := &c.GPUs[i]
		g.Vendor, g.Model, g.DriverVersion = t.of(g.Vendor), t.of(g.Model), t.of(g.DriverVersion)
	}
	c.Runtimes = k.runtimesOf(c.Runtimes)
	c.Engines = exactly(c.Engines)
	for i := range c.Engines {
		e := &c.Engines[i]
		e.Name, e.Version, e.Endpoint = t.of(e.Name), t.of(e.Version), t.of(e.Endpoint)
		e.Models = exactly(e.Models)
		for j := range e.Models {
			e.Models[j] = t.of(e.Models[j])
		}
	}
	c.Processes = exactly(c.Processes)
	for i := range c.Processes {
		p := &c.Processes[i]
		p.Name, p.Path = t.of(p.Name), t.of(p.Path)
	}
	c.Credentials = exactly(c.Credentials)
	for i := range c.Credentials {
		r := &c.Credentials[i]
		r.Name, r.Registry = t.of(r.Name), t.of(r.Registry)
	}
}

// shareKnown is share for all that is stored of a node.
func (k *kinds) shareKnown(n *Known) {
	n.AgentVersion = k.texts.of(n.AgentVersion)
	n.AgentLabels, n.UserLabels = k.labelsOf(n.AgentLabels), k.labelsOf(n.UserLabels)
	k.share(&n.Capabilities)
}

// exactly copies a list without room to grow; nil when it is empty.
func exactly[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return append(make([]T, 0, len(list)), list...)
}
