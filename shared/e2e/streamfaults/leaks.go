//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/orchion/orchion/shared/testbed/program"
)

// slack is by how many open files a program may differ from its beginning: connections that
// are kept for the next question, of which nobody asks more than a few at a time.
const slack = 16

// counts are the open files of the orchestrator and of the agents; empty where the system
// does not tell (it does on Linux).
func (c *cluster) counts() map[string]int {
	counts := map[string]int{}
	for name, p := range c.programs() {
		if entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID())); err == nil {
			counts[name] = len(entries)
		}
	}
	return counts
}

func (c *cluster) programs() map[string]*program.Program {
	programs := map[string]*program.Program{"orchestrator": c.orchestrator}
	for _, m := range c.machines {
		programs[m.name] = m.agent
	}
	return programs
}

// carriers are what a goroutine has on its stack while it carries an answer.
var carriers = [...]string{"gateway.(*Gateway).serve", "gateway.(*Gateway).relay", "gateway.(*Gateway).passOn", "gateway.(*Gateway).forward"}

// leaks says what the programs hold when nobody asks any more, and what of it is too much.
// It ends them.
func (c *cluster) leaks(ctx context.Context, before map[string]int) (summary, violation string) {
	err := program.Eventually(ctx, 15*time.Second, "connections are closed", func() error {
		for name, now := range c.counts() {
			if now > before[name]+slack {
				return fmt.Errorf("%s has %d open files, and had %d", name, now, before[name])
			}
		}
		return nil
	})
	if err != nil {
		return "", err.Error()
	}
	var parts []string
	for name, p := range c.programs() {
		dump, err := c.goroutines(p, name)
		if err != nil {
			return "", err.Error()
		}
		for _, carrier := range carriers {
			if n := bytes.Count(dump, []byte(carrier)); n > 0 {
				return "", fmt.Sprintf("%s has %d goroutines in %s though nobody asks", name, n, carrier)
			}
		}
		n := bytes.Count(dump, []byte("\ngoroutine "))
		if limit := 150; n > limit {
			return "", fmt.Sprintf("%s has %d goroutines in the end, more than %d", name, n, limit)
		}
		parts = append(parts, fmt.Sprintf("%s ends with %d goroutines", name, n))
	}
	return strings.Join(parts, ", "), ""
}

// goroutines has a program tell them, as the last thing it does.
func (c *cluster) goroutines(p *program.Program, name string) ([]byte, error) {
	file := filepath.Join(c.dir, name+".log")
	before, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if err := syscall.Kill(p.PID(), syscall.SIGQUIT); err != nil {
		return nil, err
	}
	p.Wait()
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return text[before.Size():], nil
}
