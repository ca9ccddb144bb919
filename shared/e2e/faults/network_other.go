//go:build unix && !linux

package main

import "errors"

func inOwnNetwork() bool { return false }

func enterNetwork() error { return errors.New("network namespaces are Linux's") }

func newFilter(int, string) (way, error) { return nil, errors.ErrUnsupported }
