// Package scheduler decides where work may run. Filters say whether a node
// can take a piece of work and, in words for people, why not; ranking picks
// the best node of those that can. Both are pure functions of a Work
// and a Candidate. Cluster is the one table of candidates: jobs and replicas
// are placed through it, so that neither takes what the other holds.
package scheduler
