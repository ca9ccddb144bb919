package node

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

// share puts texts that others have said before in the place of equal ones. The
// maps and lists of reg are made anew, and no larger than they have to be.
func (t texts) share(reg *Registration) {
	reg.AgentVersion = t.of(reg.AgentVersion)
	if len(reg.Labels) > 0 {
		labels := make(map[string]string, len(reg.Labels))
		for key, value := range reg.Labels {
			labels[t.of(key)] = t.of(value)
		}
		reg.Labels = labels
	}
	c := &reg.Capabilities
	for _, text := range []*string{&c.OS, &c.Arch, &c.Platform, &c.Kernel, &c.CPU.Model, &c.Disk.Path} {
		*text = t.of(*text)
	}
	c.GPUs = exactly(c.GPUs)
	for i := range c.GPUs {
		g := &c.GPUs[i]
		g.Vendor, g.Model, g.DriverVersion = t.of(g.Vendor), t.of(g.Model), t.of(g.DriverVersion)
	}
	c.Runtimes = exactly(c.Runtimes)
	for i := range c.Runtimes {
		r := &c.Runtimes[i]
		r.Name, r.Version, r.Endpoint = t.of(r.Name), t.of(r.Version), t.of(r.Endpoint)
	}
	c.Engines = exactly(c.Engines)
	for i := range c.Engines {
		e := &c.Engines[i]
		e.Name, e.Version, e.Endpoint = t.of(e.Name), t.of(e.Version), t.of(e.Endpoint)
		e.Models = exactly(e.Models)
		for j := range e.Models {
			e.Models[j] = t.of(e.Models[j])
		}
	}
}

// exactly copies a list without room to grow; nil when it is empty.
func exactly[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return append(make([]T, 0, len(list)), list...)
}
