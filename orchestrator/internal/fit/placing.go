package fit

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/model"
	"github.com/orchion/orchion/shared/modelfit"
)

// learnTimeout is how long a deployment that is made waits until it is known what
// its model needs.
const learnTimeout = 2 * time.Second

// Learn finds out what a spec's model needs, so that Suit knows it, as far as that
// takes little time. What takes longer goes on.
func (f *Fitter) Learn(ctx context.Context, s *model.Spec) {
	if s.Engine != model.Ollama {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	_, _, _ = f.describe(ctx, question{s.Engine, s.BaseModel()}) // what is not known does not count
}

// Suit answers how a spec's model fits on the nodes, with the contexts that its
// settings of Ollama say, or that its engine begins with. It does not block: when it is not known what the model needs, it has that
// found out and answers nothing. Only models for Ollama are known here: what vLLM takes
// is what its arguments and GPUs say.
func (f *Fitter) Suit(s *model.Spec) model.Suitability {
	if s.Engine != model.Ollama {
		return model.Suitability{}
	}
	q := question{s.Engine, s.BaseModel()}
	if _, fresh := f.known.get(q, time.Now()); !fresh {
		f.begin(context.Background(), q)
	}
	known, ok := f.known.old(q)
	if !ok {
		return model.Suitability{}
	}
	a := Answer{Ask: Ask{Model: s.Model, Engine: s.Engine, Context: defaultContext, Parallel: 1}, Metadata: known.model}
	if o := s.Ollama; o != nil {
		a.Context, a.Parallel = cmp.Or(int64(o.ContextLength), a.Context), cmp.Or(int64(o.NumParallel), a.Parallel)
	}
	if most := known.model.ContextLength; most > 0 {
		a.Context = min(a.Context, most)
	}
	a.Need = known.model.Need(modelfit.Load{Context: a.Context, Parallel: a.Parallel})
	to := model.Suitability{Never: make(map[string]string), Taken: make(map[string]string), Slow: make(map[string]string)}
	serving := f.serving(a.Ask)
	for _, space := range f.cfg.Space() {
		n := place(&a, &space)
		switch has := n.MemoryTotalBytes + n.GPUTotalBytes; {
		case serving[n.NodeID]: // and shares it
		case n.Place == PartlyOnGPU || n.Place == OnCPU:
			to.Slow[n.NodeID] = n.Reason
		case n.MissingBytes == 0:
		case n.MemoryTotalBytes > 0 && has < a.Need.Total():
			to.Never[n.NodeID] = fmt.Sprintf("needs %s of memory, and the node has %s; declare its memory in resources if it needs less", size(a.Need.Total()), size(has))
		default:
			// An Ollama unloads models that nobody uses.
			to.Taken[n.NodeID] = n.Reason + ", which others use now"
		}
	}
	return to
}
