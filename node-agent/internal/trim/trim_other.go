//go:build !linux

package trim

// dropProgram does nothing: these systems do not say which pages are clean.
func dropProgram() {}
