//go:build unix && !linux

package main

import (
	"errors"

	"github.com/orchion/orchion/shared/testbed/ways"
)

func inOwnNetwork() bool { return false }

func enterNetwork() error { return errors.New("network namespaces are Linux's") }

func newFilter(int, string) (ways.Way, error) { return nil, errors.ErrUnsupported }
