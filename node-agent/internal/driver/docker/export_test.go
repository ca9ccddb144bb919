package docker

// AskForLogs has a driver ask for logs that it could read itself.
func AskForLogs(d *Driver) { d.asksForLogs = true }
