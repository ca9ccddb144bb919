// Package ways stands where the network between two programs would, and parts them.
package ways

// A Way leads from one program to another.
type Way interface {
	// Address is what the program dials.
	Address() string
	// Hold holds directions up, as a partition does, until the answer is called.
	Hold(directions ...Direction) (release func(), err error)
	// Reset breaks the connections that are open.
	Reset() error
	// Close ends the way.
	Close()
}

// Direction is a way through a network.
type Direction int

// The directions.
const (
	Up   Direction = iota // from the program that dials
	Down                  // to it
)
