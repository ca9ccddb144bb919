package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/orchion/orchion/orchestrator"
)

func errorf(format string, args ...any) error { return fmt.Errorf(format, args...) }

// choice is a flag that takes one of a few words.
type choice struct {
	value   string
	allowed []string
}

func newChoice(value string, allowed ...string) *choice { return &choice{value, allowed} }

// String implements pflag.Value.
func (c *choice) String() string { return c.value }

// Set implements pflag.Value.
func (c *choice) Set(text string) error {
	text = strings.ToLower(text)
	if !slices.Contains(c.allowed, text) {
		return errorf("must be one of %s", c.list())
	}
	c.value = text
	return nil
}

// Type implements pflag.Value.
func (c *choice) Type() string { return "word" }

func (c *choice) list() string { return strings.Join(c.allowed, ", ") }

// port is a flag that takes the number of a port.
type port struct{ to *int }

func newPort(to *int) port { return port{to} }

// String implements pflag.Value.
func (p port) String() string {
	if p.to == nil {
		return "" // pflag asks the zero value what no default looks like
	}
	return strconv.Itoa(*p.to)
}

// Set implements pflag.Value.
func (p port) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return errorf("must be a number from 0 to 65535, 0 taking a free port")
	}
	*p.to = int(n)
	return nil
}

// Type implements pflag.Value.
func (p port) Type() string { return "port" }

// placement is a flag that takes the name of a placement.
type placement struct{ to *orchestrator.Placement }

func newPlacement(to *orchestrator.Placement) placement { return placement{to} }

// String implements pflag.Value.
func (p placement) String() string {
	if p.to == nil {
		return "" // pflag asks the zero value what no default looks like
	}
	return p.to.String()
}

// Set implements pflag.Value.
func (p placement) Set(text string) error {
	value, err := orchestrator.ParsePlacement(strings.ToLower(text))
	if err != nil {
		return err
	}
	*p.to = value
	return nil
}

// Type implements pflag.Value.
func (p placement) Type() string { return "word" }

// gatewayLog is a flag that says which calls of models are logged.
type gatewayLog struct{ to *orchestrator.GatewayLog }

func newGatewayLog(to *orchestrator.GatewayLog) gatewayLog { return gatewayLog{to} }

// String implements pflag.Value.
func (g gatewayLog) String() string {
	if g.to == nil {
		return "" // pflag asks the zero value what no default looks like
	}
	return g.to.String()
}

// Set implements pflag.Value.
func (g gatewayLog) Set(text string) error {
	value, err := orchestrator.ParseGatewayLog(strings.ToLower(text))
	if err != nil {
		return err
	}
	*g.to = value
	return nil
}

// Type implements pflag.Value.
func (g gatewayLog) Type() string { return "word" }
