//go:build !linux && !darwin

package hostinfo

func gpuProbes() []gpuProbe { return []gpuProbe{nvidia{}} }
