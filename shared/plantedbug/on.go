//go:build plantedbugs

// Package plantedbug lets tests break the programs on purpose, to see that the
// checks which should find it do. Only programs built with the tag plantedbugs
// have any of it in them.
package plantedbug

import "os"

// On says whether the bug is the one that ORCHION_PLANTED_BUG names.
func On(name string) bool { return os.Getenv("ORCHION_PLANTED_BUG") == name }
