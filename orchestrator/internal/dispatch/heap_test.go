package dispatch

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type weight struct{ value, place int }

type byValue struct{}

func (byValue) before(a, b *weight) bool   { return a.value < b.value }
func (byValue) moved(w *weight, place int) { w.place = place }

// TestHeap holds the heap against a list, whatever is done to it.
func TestHeap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var h indexed[*weight, byValue]
		var all []*weight
		value := rapid.IntRange(0, 20)
		one := func(t *rapid.T) *weight {
			if len(all) == 0 {
				t.Skip()
			}
			return all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				w := &weight{value.Draw(t, "value"), -1}
				all = append(all, w)
				h.push(w)
			},
			"remove": func(t *rapid.T) {
				w := one(t)
				h.remove(w.place)
				if w.place != -1 {
					t.Fatalf("is at %d after it was removed", w.place)
				}
				all = slices.DeleteFunc(all, func(other *weight) bool { return other == w })
			},
			"change": func(t *rapid.T) {
				w := one(t)
				w.value = value.Draw(t, "value")
				h.fix(w.place)
			},
			"": func(t *rapid.T) {
				if len(h) != len(all) {
					t.Fatalf("holds %d, want %d", len(h), len(all))
				}
				for i, w := range h {
					if w.place != i {
						t.Fatalf("what is at %d thinks it is at %d", i, w.place)
					}
				}
				if len(all) > 0 {
					least := slices.MinFunc(all, func(a, b *weight) int { return cmp.Compare(a.value, b.value) })
					if h[0].value != least.value {
						t.Fatalf("%d is first, want %d", h[0].value, least.value)
					}
				}
			},
		})
	})
}
