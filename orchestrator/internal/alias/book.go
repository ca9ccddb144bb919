package alias

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/orchion/orchion/orchestrator/internal/fault"
)

// Store is what aliases need of store.Store.
type Store interface {
	PutAlias(ctx context.Context, a Alias) error
	DeleteAlias(ctx context.Context, name string) error
	ListAliases(ctx context.Context) ([]Alias, error)
}

// Config says what a Book works with. Store is required.
type Config struct {
	Store Store
	// Deployed says whether a model of that name is deployed or served: such a
	// model wins over an alias of its name. Default: none is.
	Deployed func(model string) bool
}

// Book keeps aliases and says what they lead to.
type Book struct {
	cfg Config

	changing sync.Mutex // held while an alias is changed
	// published is what readers see. It is never changed, only replaced.
	published atomic.Pointer[pages]
}

type pages struct {
	aliases map[string]Alias
	leadsTo map[string][]string
	names   []string // ordered
}

// Status is an alias with what it comes to.
type Status struct {
	Alias
	// LeadsTo are the models in the order in which they are tried, those of other
	// aliases in their place.
	LeadsTo []string
	// Shadowed is true when a model of the alias's name is deployed: the model is
	// what answers to the name then, and the alias leads nowhere.
	Shadowed bool
}

// New makes a book; Start loads it.
func New(cfg Config) (*Book, error) {
	if cfg.Store == nil {
		return nil, errors.New("alias: Config needs Store")
	}
	if cfg.Deployed == nil {
		cfg.Deployed = func(string) bool { return false }
	}
	b := &Book{cfg: cfg}
	b.published.Store(&pages{})
	return b, nil
}

// Start loads what is stored.
func (b *Book) Start(ctx context.Context) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	list, err := b.cfg.Store.ListAliases(ctx)
	if err != nil {
		return fmt.Errorf("load the aliases: %w", err)
	}
	aliases := make(map[string]Alias, len(list))
	for _, a := range list {
		aliases[a.Name] = a
	}
	next, err := write(aliases)
	if err != nil {
		return fmt.Errorf("load the aliases: %w", err)
	}
	b.published.Store(next)
	return nil
}

// LeadsTo answers the models that a name leads to, in the order in which they are
// to be tried; none when it is no alias. What it answers is not to be changed.
// Whoever asks looks for a model of that name first.
func (b *Book) LeadsTo(name string) []string { return b.published.Load().leadsTo[name] }

// Names answers the names of all aliases, ordered. What it answers is not to be changed.
func (b *Book) Names() []string { return b.published.Load().names }

// Put makes an alias or replaces one. Errors: Invalid, naming the field;
// Precondition when a model has the name; Exhausted.
func (b *Book) Put(ctx context.Context, a Alias) (Status, error) {
	if err := a.Validate(); err != nil {
		return Status{}, err
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	last := b.published.Load()
	if _, known := last.aliases[a.Name]; !known {
		if b.cfg.Deployed(a.Name) {
			return Status{}, fault.New(fault.Precondition, "name: a model %q is deployed or served, and wins over an alias of its name; choose another", a.Name)
		}
		if len(last.aliases) >= MaxAliases {
			return Status{}, fault.New(fault.Exhausted, "there are %d aliases, the most allowed; remove one", MaxAliases)
		}
	}
	aliases := maps.Clone(last.aliases)
	if aliases == nil {
		aliases = make(map[string]Alias)
	}
	aliases[a.Name] = a
	next, err := write(aliases)
	if err != nil {
		return Status{}, err
	}
	if err := b.cfg.Store.PutAlias(ctx, a); err != nil {
		return Status{}, err
	}
	b.published.Store(next)
	return b.status(next, a), nil
}

// Delete forgets an alias. NotFound. Aliases that lead to it stay as they are,
// and its name is that of a model to them.
func (b *Book) Delete(ctx context.Context, name string) error {
	b.changing.Lock()
	defer b.changing.Unlock()
	if err := b.cfg.Store.DeleteAlias(ctx, name); err != nil {
		return err
	}
	aliases := maps.Clone(b.published.Load().aliases)
	delete(aliases, name)
	next, err := write(aliases)
	if err != nil {
		return err
	}
	b.published.Store(next)
	return nil
}

// Get answers one alias. NotFound.
func (b *Book) Get(name string) (Status, error) {
	p := b.published.Load()
	a, ok := p.aliases[name]
	if !ok {
		return Status{}, None(name)
	}
	return b.status(p, a), nil
}

// List answers all aliases, ordered by name.
func (b *Book) List() []Status {
	p := b.published.Load()
	list := make([]Status, 0, len(p.aliases))
	for _, a := range p.aliases {
		list = append(list, b.status(p, a))
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (b *Book) status(p *pages, a Alias) Status {
	return Status{Alias: a, LeadsTo: p.leadsTo[a.Name], Shadowed: b.cfg.Deployed(a.Name)}
}

// write works out what aliases lead to. Errors: Invalid when one leads back to
// itself, or to too many.
func write(aliases map[string]Alias) (*pages, error) {
	p := &pages{aliases: aliases, leadsTo: make(map[string][]string, len(aliases))}
	for name := range aliases {
		w := walk{aliases: aliases, done: make(map[string]bool)}
		if err := w.follow([]string{name}); err != nil {
			return nil, err
		}
		p.leadsTo[name] = w.models
	}
	p.names = slices.Sorted(maps.Keys(aliases))
	return p, nil
}

// walk is on its way through what one alias leads to.
type walk struct {
	aliases map[string]Alias
	done    map[string]bool // names that were followed or found: once is enough
	models  []string
}

// follow finds the models that the last name of a way leads to.
func (w *walk) follow(way []string) error {
	for _, m := range w.aliases[way[len(way)-1]].Models {
		if slices.Contains(way, m) {
			return fault.BadField("models", "lead in a circle: %s", strings.Join(append(way, m), " -> "))
		}
		if w.done[m] {
			continue
		}
		if _, ok := w.aliases[m]; ok {
			if err := w.follow(append(slices.Clip(way), m)); err != nil {
				return err
			}
		} else if w.models = append(w.models, m); len(w.models) > MaxReach {
			return fault.BadField("models", "lead to more than %d models, over other aliases: %s", MaxReach, way[0])
		}
		w.done[m] = true
	}
	return nil
}
