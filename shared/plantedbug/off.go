//go:build !plantedbugs

// Package plantedbug lets tests break the programs on purpose, to see that the
// checks which should find it do. Only programs built with the tag plantedbugs
// have any of it in them.
package plantedbug

// On says whether a bug is planted: never, in programs that people run.
func On(string) bool { return false }

// Stale is fresh.
func Stale[T any](_ string, fresh T) T { return fresh }
