package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/orchion/orchion/orchestrator/internal/node"
)

const (
	// maxConstraintLength and maxConstraintValues bound what a caller can make
	// us compare with every node.
	maxConstraintLength = 512
	maxConstraintValues = 64
)

// Constraint is one condition on a node, read by ParseConstraint.
type Constraint struct {
	text   string
	key    key
	op     operator
	values []string // of =, != and in
	number float64  // of a numeric key, in its unit
}

// String gives the constraint as it was written.
func (c Constraint) String() string { return c.text }

type operator int

const (
	opEquals operator = iota + 1
	opNotEquals
	opIn
	opExists
	opAtLeast
	opAtMost
	opAbove
	opBelow
)

// key is something of a node that constraints are about. Exactly one of text,
// texts and number is set.
type key struct {
	name string
	// text is the node's value; false when it has none.
	text func(*node.Node) (string, bool)
	// texts are the node's values, none when it has no such thing.
	texts func(*node.Node) []string
	// number is the node's value; bytes says how it is written.
	number func(*node.Node) float64
	bytes  bool
	// subject begins the sentence that says what a node has instead.
	subject string
}

// labelPrefix begins keys that are about labels.
const labelPrefix = "label."

// plainKeys are all keys but those of labels, by name.
func plainKeys() []key {
	return []key{
		{name: "arch", subject: "its architecture", text: func(n *node.Node) (string, bool) { return n.Capabilities.Arch, n.Capabilities.Arch != "" }},
		{name: "cpu.cores", subject: "it has", number: func(n *node.Node) float64 { return float64(n.Capabilities.CPU.LogicalCores) }},
		{name: "disk", subject: "its disk has", bytes: true, number: func(n *node.Node) float64 { return float64(n.Capabilities.Disk.TotalBytes) }},
		{name: "engine", subject: "it has", texts: func(n *node.Node) []string {
			return collect(n.Capabilities.Engines, func(e node.LocalEngine) string { return e.Name })
		}},
		{name: "gpu.count", subject: "its number of GPUs", number: func(n *node.Node) float64 { return float64(len(n.Capabilities.GPUs)) }},
		{name: "gpu.memory", subject: "its largest GPU has", bytes: true, number: func(n *node.Node) float64 { return float64(largestGPU(n)) }},
		{name: "gpu.model", subject: "it has", texts: func(n *node.Node) []string {
			return collect(n.Capabilities.GPUs, func(g node.GPU) string { return g.Model })
		}},
		{name: "gpu.vendor", subject: "it has", texts: func(n *node.Node) []string {
			return collect(n.Capabilities.GPUs, func(g node.GPU) string { return g.Vendor })
		}},
		{name: "hostname", subject: "its hostname", text: func(n *node.Node) (string, bool) { return n.Hostname, n.Hostname != "" }},
		{name: "memory", subject: "it has", bytes: true, number: func(n *node.Node) float64 { return float64(n.Capabilities.MemoryBytes) }},
		{name: "node", subject: "its id", text: func(n *node.Node) (string, bool) { return n.ID, n.ID != "" }},
		{name: "os", subject: "its operating system", text: func(n *node.Node) (string, bool) { return n.Capabilities.OS, n.Capabilities.OS != "" }},
		{name: "platform", subject: "its platform", text: func(n *node.Node) (string, bool) { return n.Capabilities.Platform, n.Capabilities.Platform != "" }},
		{name: "runtime", subject: "it has", texts: func(n *node.Node) []string {
			return collect(n.Capabilities.Runtimes, func(r node.Runtime) string { return r.Name })
		}},
	}
}

// ParseConstraints reads several constraints, all of which must hold. The
// error names the first that is wrong by its place, counted from 0.
func ParseConstraints(texts []string) ([]Constraint, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	constraints := make([]Constraint, 0, len(texts))
	for i, text := range texts {
		c, err := ParseConstraint(text)
		if err != nil {
			return nil, fmt.Errorf("constraints[%d]: %w", i, err)
		}
		constraints = append(constraints, c)
	}
	return constraints, nil
}

// ParseConstraint reads a constraint: a key, an operator and a value, such as
// "os=linux", "arch!=arm64", "gpu.memory>=16GiB", "cpu.cores>=4",
// "label.room in (office,lab)" or "label.ssd exists". The error says what is
// allowed instead.
func ParseConstraint(text string) (Constraint, error) {
	if len(text) > maxConstraintLength {
		return Constraint{}, fmt.Errorf("is %d characters long; at most %d are allowed", len(text), maxConstraintLength)
	}
	trimmed := strings.TrimSpace(text)
	end := strings.IndexFunc(trimmed, func(r rune) bool { return !isKeyRune(r) })
	if end < 0 {
		end = len(trimmed)
	}
	name, rest := trimmed[:end], strings.TrimSpace(trimmed[end:])
	if name == "" {
		return Constraint{}, fmt.Errorf("%q does not begin with a key; write key, operator and value, such as os=linux or memory>=8GiB", text)
	}
	k, err := findKey(name)
	if err != nil {
		return Constraint{}, err
	}
	c := Constraint{text: trimmed, key: k}
	value, err := c.parseOperator(rest)
	if err != nil {
		return Constraint{}, fmt.Errorf("%q: %w", trimmed, err)
	}
	if err := c.parseValue(value); err != nil {
		return Constraint{}, fmt.Errorf("%q: %w", trimmed, err)
	}
	return c, nil
}

// parseOperator takes the operator off rest and answers the value.
func (c *Constraint) parseOperator(rest string) (value string, err error) {
	symbols := []struct {
		text string
		op   operator
	}{
		{">=", opAtLeast}, {"<=", opAtMost}, {"!=", opNotEquals}, {"==", opEquals},
		{">", opAbove}, {"<", opBelow}, {"=", opEquals},
	}
	for _, symbol := range symbols {
		if v, ok := strings.CutPrefix(rest, symbol.text); ok {
			c.op = symbol.op
			return strings.TrimSpace(v), c.checkOperator(symbol.text)
		}
	}
	word, value := rest, ""
	if i := strings.IndexAny(rest, " ("); i >= 0 {
		word, value = rest[:i], strings.TrimSpace(rest[i:])
	}
	switch word {
	case "in":
		c.op = opIn
	case "exists":
		c.op = opExists
		if value != "" {
			return "", fmt.Errorf("nothing may follow exists, but %q does", value)
		}
	default:
		return "", fmt.Errorf("has no operator after %s; use one of %s", c.key.name, c.operators())
	}
	return value, c.checkOperator(word)
}

// checkOperator refuses to compare texts by size.
func (c *Constraint) checkOperator(written string) error {
	ordered := c.op >= opAtLeast
	switch {
	case ordered && c.key.number == nil && !strings.HasPrefix(c.key.name, labelPrefix):
	case c.op == opIn && c.key.number != nil:
	default:
		return nil
	}
	return fmt.Errorf("%s does not go with %s; use one of %s", c.key.name, written, c.operators())
}

func (c *Constraint) operators() string {
	switch {
	case c.key.number != nil:
		return "=, !=, >=, >, <=, <, exists"
	case strings.HasPrefix(c.key.name, labelPrefix):
		return "=, !=, in (...), exists, >=, >, <=, <"
	default:
		return "=, !=, in (...), exists"
	}
}

func (c *Constraint) parseValue(value string) error {
	switch {
	case c.op == opExists:
		return nil
	case c.op == opIn:
		inner, opened := strings.CutPrefix(value, "(")
		inner, shut := strings.CutSuffix(inner, ")")
		if !opened || !shut {
			return fmt.Errorf("the values after in stand in brackets, such as %s in (a,b)", c.key.name)
		}
		for v := range strings.SplitSeq(inner, ",") {
			if v = strings.TrimSpace(v); v == "" {
				return fmt.Errorf("one of the values in %q is empty", value)
			}
			c.values = append(c.values, v)
		}
		if len(c.values) > maxConstraintValues {
			return fmt.Errorf("has %d values; at most %d are allowed", len(c.values), maxConstraintValues)
		}
		return nil
	case value == "":
		return fmt.Errorf("has no value after the operator")
	case c.key.bytes:
		number, err := parseBytes(value)
		c.number = number
		return err
	case c.key.number != nil || c.op >= opAtLeast:
		number, err := parseNumber(value)
		c.number = number
		return err
	default:
		c.values = []string{value}
		return nil
	}
}

// Matches says whether a node meets the constraint. Something that a node does
// not have meets != and nothing else.
func (c Constraint) Matches(n *node.Node) bool {
	if c.key.number != nil {
		return c.compare(c.key.number(n))
	}
	if c.key.text != nil {
		value, ok := c.key.text(n)
		if c.op == opNotEquals {
			return !ok || value != c.values[0]
		}
		return ok && c.accepts(value)
	}
	have := c.key.texts(n)
	if c.op == opNotEquals {
		return !slices.Contains(have, c.values[0])
	}
	return slices.ContainsFunc(have, c.accepts)
}

// accepts says whether one value of a node meets the constraint, unless it is
// one with !=.
func (c Constraint) accepts(value string) bool {
	switch c.op {
	case opExists:
		return true
	case opEquals, opIn:
		return slices.Contains(c.values, value)
	default: // a label that holds a number
		number, err := parseNumber(value)
		return err == nil && c.compare(number)
	}
}

func (c Constraint) compare(have float64) bool {
	switch c.op {
	case opEquals:
		return have == c.number
	case opNotEquals:
		return have != c.number
	case opAtLeast:
		return have >= c.number
	case opAtMost:
		return have <= c.number
	case opAbove:
		return have > c.number
	case opBelow:
		return have < c.number
	default: // exists
		return have > 0
	}
}

// why says what a node that does not match has instead.
func (c Constraint) why(n *node.Node) string {
	if c.key.number != nil {
		have := c.key.number(n)
		if have == 0 && strings.HasPrefix(c.key.name, "gpu.") {
			return fmt.Sprintf("does not meet %s: it has no GPU", c.text)
		}
		switch {
		case c.key.bytes:
			return fmt.Sprintf("does not meet %s: %s %s", c.text, c.key.subject, formatBytes(have))
		case c.key.name == "cpu.cores":
			return fmt.Sprintf("does not meet %s: %s %s", c.text, c.key.subject, formatCores(int64(have*1000)))
		default:
			return fmt.Sprintf("does not meet %s: %s is %s", c.text, c.key.subject, formatNumber(have))
		}
	}
	var have []string
	if c.key.texts != nil {
		have = c.key.texts(n)
	} else if value, ok := c.key.text(n); ok {
		have = []string{value}
	}
	if len(have) == 0 {
		if strings.HasPrefix(c.key.name, labelPrefix) {
			return fmt.Sprintf("does not meet %s: it does not have the label", c.text)
		}
		return fmt.Sprintf("does not meet %s: it has none", c.text)
	}
	subject := c.key.subject
	if subject != "it has" {
		subject += " is"
	}
	return fmt.Sprintf("does not meet %s: %s %s", c.text, subject, list(have))
}

func findKey(name string) (key, error) {
	if label, ok := strings.CutPrefix(name, labelPrefix); ok {
		if label == "" {
			return key{}, fmt.Errorf("%q names no label; write label.KEY, such as label.room=office", name)
		}
		return key{name: name, subject: "its label", text: func(n *node.Node) (string, bool) {
			value, ok := n.Labels[label]
			return value, ok
		}}, nil
	}
	keys := plainKeys()
	names := make([]string, 0, len(keys))
	for _, k := range keys {
		if k.name == name {
			return k, nil
		}
		names = append(names, k.name)
	}
	return key{}, fmt.Errorf("%q is not a key of constraints; use one of %s or label.KEY", name, strings.Join(names, ", "))
}

// isKeyRune says what keys are made of, those of labels included.
func isKeyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		r == '.' || r == '_' || r == '-' || r == '/'
}

// collect answers the distinct texts of some things, in their order.
func collect[T any](things []T, text func(T) string) []string {
	var texts []string
	for _, thing := range things {
		if t := text(thing); t != "" && !slices.Contains(texts, t) {
			texts = append(texts, t)
		}
	}
	return texts
}

func largestGPU(n *node.Node) int64 {
	var largest int64
	for _, gpu := range n.Capabilities.GPUs {
		largest = max(largest, gpu.MemoryBytes)
	}
	return largest
}

// OnNodes is the constraint that a node is one of those with the given ids.
func OnNodes(ids []string) (Constraint, error) {
	for _, id := range ids {
		if id == "" || strings.ContainsFunc(id, func(r rune) bool { return !isKeyRune(r) && r != '-' }) {
			return Constraint{}, fmt.Errorf("is %q, which is not the id of a node", id)
		}
	}
	k, err := findKey("node")
	if err != nil {
		return Constraint{}, err
	}
	return Constraint{text: "node in (" + strings.Join(ids, ",") + ")", key: k, op: opIn, values: ids}, nil
}
