package alias_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/orchion/orchion/orchestrator/internal/alias"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/store/memory"
)

func newBook(t *testing.T, db alias.Store, deployed ...string) *alias.Book {
	t.Helper()
	b, err := alias.New(alias.Config{Store: db, Deployed: func(name string) bool { return slices.Contains(deployed, name) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t *testing.T, b *alias.Book, name string, models ...string) alias.Status {
	t.Helper()
	s, err := b.Put(t.Context(), alias.Alias{Name: name, Models: models})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBook(t *testing.T) {
	db := memory.New()
	b := newBook(t, db)
	put(t, b, "fast", "small", "tiny")
	if s := put(t, b, "coder", "big", "fast", "small"); !slices.Equal(s.LeadsTo, []string{"big", "small", "tiny"}) {
		t.Errorf("coder leads to %q", s.LeadsTo)
	}
	put(t, b, "fast", "tiny")
	if got := b.LeadsTo("coder"); !slices.Equal(got, []string{"big", "tiny", "small"}) {
		t.Errorf("after the other was changed coder leads to %q", got)
	}
	if got := b.LeadsTo("big"); got != nil {
		t.Errorf("a model leads to %q", got)
	}
	again := newBook(t, db, "fast")
	if list := again.List(); len(list) != 2 || list[0].Name != "coder" || list[0].Shadowed || list[1].Name != "fast" || !list[1].Shadowed {
		t.Errorf("after a restart, with a model fast: %+v", list)
	}
	put(t, again, "fast", "tiny", "small") // what is shadowed can still be changed
	if err := again.Delete(t.Context(), "fast"); err != nil {
		t.Fatal(err)
	}
	if got := again.LeadsTo("coder"); !slices.Equal(got, []string{"big", "fast", "small"}) {
		t.Errorf("without fast coder leads to %q", got)
	}
	if _, err := again.Get("fast"); fault.CodeOf(err) != fault.NotFound || err.Error() != `there is no alias "fast"` {
		t.Errorf("a deleted one: %v", err)
	}
}

func TestBookRefuses(t *testing.T) {
	b := newBook(t, memory.New(), "served")
	put(t, b, "a", "b", "m")
	put(t, b, "b", "c")
	cases := []struct {
		name   string
		alias  string
		models []string
		code   fault.Code
		want   string
	}{
		{"no name", "", []string{"m"}, fault.Invalid, `name: is ""; the name of an alias is 1 to 63 characters of A-Z a-z 0-9 . _ -, starting with a letter or digit`},
		{"characters", "a/b", []string{"m"}, fault.Invalid, `name: is "a/b"; the name of an alias`},
		{"a long name", strings.Repeat("a", 64), []string{"m"}, fault.Invalid, "name: is "},
		{"no models", "x", nil, fault.Invalid, "models: has 0 models; an alias leads to 1 to 16"},
		{"many models", "x", strings.Split(strings.Repeat("m ", 17), " ")[:17], fault.Invalid, "models: has 17 models"},
		{"an empty model", "x", []string{""}, fault.Invalid, `models: has ""; the name of a model is 1 to 512 bytes`},
		{"a control character", "x", []string{"a\nb"}, fault.Invalid, `models: has "a\nb"`},
		{"twice", "x", []string{"m", "n", "m"}, fault.Invalid, `models: has "m" twice`},
		{"itself", "x", []string{"x"}, fault.Invalid, `models: has "x", the alias itself`},
		{"a circle", "c", []string{"m", "a"}, fault.Invalid, "models: lead in a circle: "},
		{"a model's name", "served", []string{"m"}, fault.Precondition, `name: a model "served" is deployed or served, and wins over an alias of its name; choose another`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := b.Put(t.Context(), alias.Alias{Name: c.alias, Models: c.models})
			if fault.CodeOf(err) != c.code || !strings.HasPrefix(fmt.Sprint(err), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if n := len(b.List()); n != 2 {
		t.Errorf("%d aliases are there after refusals", n)
	}
}

func TestBookIsBounded(t *testing.T) {
	b := newBook(t, memory.New())
	for i := range 5 {
		models := make([]string, alias.MaxModels)
		for j := range models {
			models[j] = fmt.Sprintf("m%d-%d", i, j)
		}
		put(t, b, fmt.Sprint("a", i), models...)
	}
	_, err := b.Put(t.Context(), alias.Alias{Name: "all", Models: []string{"a0", "a1", "a2", "a3", "a4"}})
	if want := "models: lead to more than 64 models, over other aliases: all"; fmt.Sprint(err) != want {
		t.Errorf("error %v, want %q", err, want)
	}
	for i := 5; i < alias.MaxAliases; i++ {
		put(t, b, fmt.Sprint("a", i), "m")
	}
	if _, err := b.Put(t.Context(), alias.Alias{Name: "more", Models: []string{"m"}}); fault.CodeOf(err) != fault.Exhausted {
		t.Errorf("one too many: %v", err)
	}
	put(t, b, "a7", "n") // replacing is possible
}

// Ways through many aliases that all lead to each other are not walked one by one.
func TestManyWays(t *testing.T) {
	b := newBook(t, memory.New())
	below := []string{"m"}
	for layer := range 20 {
		var names []string
		for i := range alias.MaxModels {
			name := fmt.Sprintf("l%d-%d", layer, i)
			put(t, b, name, below...)
			names = append(names, name)
		}
		below = names
	}
	if got := b.LeadsTo(below[0]); !slices.Equal(got, []string{"m"}) {
		t.Errorf("leads to %q", got)
	}
}

// Whatever is put and deleted, nothing leads in a circle or twice to one model,
// and what is stored leads to the same.
func TestBookLeadsSomewhere(t *testing.T) {
	names := []string{"a", "b", "c", "d", "e"}
	rapid.Check(t, func(rt *rapid.T) {
		db := memory.New()
		b := newBook(t, db)
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				models := rapid.SliceOfNDistinct(rapid.SampledFrom(append([]string{"x", "y", "z"}, names...)), 1, 4, rapid.ID).Draw(rt, "models")
				_, _ = b.Put(t.Context(), alias.Alias{Name: rapid.SampledFrom(names).Draw(rt, "name"), Models: models}) // circles are refused
			},
			"delete": func(rt *rapid.T) { _ = b.Delete(t.Context(), rapid.SampledFrom(names).Draw(rt, "name")) }, // it may not be there
			"": func(rt *rapid.T) {
				list := b.List()
				for _, s := range list {
					if len(s.LeadsTo) == 0 {
						rt.Fatalf("%s leads nowhere", s.Name)
					}
					for i, m := range s.LeadsTo {
						if slices.Contains(s.LeadsTo[:i], m) || slices.ContainsFunc(list, func(o alias.Status) bool { return o.Name == m }) {
							rt.Fatalf("%s leads to %q", s.Name, s.LeadsTo)
						}
					}
				}
				if stored := newBook(t, db).List(); fmt.Sprint(stored) != fmt.Sprint(list) {
					rt.Fatalf("stored is %v, not %v", stored, list)
				}
			},
		})
	})
}
