package storetest

import (
	"testing"

	"github.com/orchion/orchion/orchestrator/internal/alias"
	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/store"
)

func testAliases(t *testing.T, im Implementation) {
	s := open(t, im)
	list := func(s store.Store) []alias.Alias {
		t.Helper()
		aliases, err := s.ListAliases(t.Context())
		ok(t, err)
		return aliases
	}
	same(t, "an empty store", nil, list(s))
	fast := alias.Alias{Name: "fast", Models: []string{"qwen3:0.6b", "llama3.2"}}
	coder := alias.Alias{Name: "coder", Models: []string{"qwen2.5-coder:7b", "fast"}}
	ok(t, s.PutAlias(t.Context(), fast))
	ok(t, s.PutAlias(t.Context(), coder))
	same(t, "two by name", []alias.Alias{coder, fast}, list(s))
	fast.Models = []string{"größer \"und\" schneller"}
	ok(t, s.PutAlias(t.Context(), fast))
	same(t, "one replaced", []alias.Alias{coder, fast}, list(s))

	wantFault(t, s.PutAlias(t.Context(), alias.Alias{Name: "x"}), fault.Invalid, "models: has 0 models; an alias leads to 1 to 16")
	ok(t, s.DeleteAlias(t.Context(), "coder"))
	wantFault(t, s.DeleteAlias(t.Context(), "coder"), fault.NotFound, `there is no alias "coder"`)
	same(t, "one deleted", []alias.Alias{fast}, list(s))

	if im.Reopen == nil {
		return
	}
	other := im.Open(t)
	ok(t, other.PutAlias(t.Context(), fast))
	other = im.Reopen(t, other)
	defer other.Close()
	same(t, "after reopening", []alias.Alias{fast}, list(other))
}
