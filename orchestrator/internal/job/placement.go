package job

import (
	"fmt"
	"strings"
)

// Placement says which of the nodes that fit are the better ones. The zero
// value leaves that to whoever places.
type Placement int

// The placements.
const (
	// BinPack takes the fuller nodes, so that others stay free for large work.
	BinPack Placement = iota + 1
	// Spread takes the emptier nodes.
	Spread
)

// Placements are all placements.
func Placements() []Placement { return []Placement{BinPack, Spread} }

// String gives the placement's name, as ParsePlacement reads it.
func (p Placement) String() string {
	switch p {
	case BinPack:
		return "binpack"
	case Spread:
		return "spread"
	default:
		return ""
	}
}

// ParsePlacement reads a placement by its name.
func ParsePlacement(name string) (Placement, error) {
	var names []string
	for _, p := range Placements() {
		if p.String() == name {
			return p, nil
		}
		names = append(names, p.String())
	}
	return 0, fmt.Errorf("is %q; it must be %s", name, strings.Join(names, " or "))
}

// MaxAffinity bounds the weight of an affinity in both directions.
const MaxAffinity = 100

// Affinity makes nodes that meet a constraint better by so many points, or
// worse.
type Affinity struct {
	Constraint string `json:"constraint"`
	Weight     int    `json:"weight"`
}
