//go:build unix && !linux

package main

// ownDisk gives the orchestrator a disk of its own on Linux only.
func ownDisk(string) (release func(), err error) { return func() {}, nil }

func (c *cluster) ownDisk() bool { return false }
