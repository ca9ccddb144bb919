// Package dispatch brings queued jobs to nodes and keeps hold of them there:
// the streams to the nodes, the queue, and the leases. Where a job may run is
// decided by package scheduler; what is durable lies in the store.
package dispatch
