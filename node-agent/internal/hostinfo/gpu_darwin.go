package hostinfo

func gpuProbes() []gpuProbe { return []gpuProbe{apple{}} }
