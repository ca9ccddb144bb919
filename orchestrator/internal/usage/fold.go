package usage

import (
	"cmp"
	"slices"
	"time"
)

// Fold puts the rows of one hour together: the keys with the most requests and
// tokens keep rows of their own, and the callers of the rest become Others.
func Fold(hour time.Time, rows []Row) []Row {
	byKey := make(map[Key]*Row, len(rows))
	for i := range rows {
		addTo(byKey, rows[i].Key, hour, &rows[i].Counts)
	}
	list := make([]*Row, 0, len(byKey))
	for _, row := range byKey {
		list = append(list, row)
	}
	slices.SortFunc(list, func(a, b *Row) int {
		return cmp.Or(cmp.Compare(b.weight(), a.weight()), compareKeys(a.Key, b.Key))
	})
	if len(list) > MaxKeys {
		for _, row := range list[MaxKeys:] {
			delete(byKey, row.Key)
			addTo(byKey, row.Rest(), hour, &row.Counts)
		}
	}
	folded := make([]Row, 0, len(byKey))
	for _, row := range byKey {
		folded = append(folded, *row)
	}
	slices.SortFunc(folded, func(a, b Row) int { return compareKeys(a.Key, b.Key) })
	return folded
}

// Rest is the key of a call for which there is no room under its own.
func (k Key) Rest() Key {
	k.Caller = Others
	return k
}

func addTo(byKey map[Key]*Row, key Key, hour time.Time, c *Counts) {
	row := byKey[key]
	if row == nil {
		row = &Row{Start: hour, Step: time.Hour, Key: key}
		byKey[key] = row
	}
	row.Add(c)
}

// weight says how much a row has to say; a call without tokens counts as well.
func (c *Counts) weight() int64 { return c.Tokens() + c.Requests }

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.NodeID, b.NodeID))
}
