package model_test

import (
	"testing"
	"time"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/model"
)

func TestSize(t *testing.T) {
	fixed := func(n int) model.Spec { return model.Spec{Replicas: n} }
	scaled := func(begin, low, high int) model.Spec {
		return model.Spec{Replicas: begin, MinReplicas: low, MaxReplicas: high}
	}
	everywhere := model.Spec{Everywhere: true}
	for _, tt := range []struct {
		name       string
		from, want model.Spec
		say        model.Sizing
		wantErr    string
	}{
		{"nothing", fixed(2), fixed(2), model.Sizing{}, ""},
		{"a number", fixed(2), fixed(0), model.Sizing{Replicas: new(int)}, ""},
		{"a number instead of bounds", scaled(1, 0, 4), fixed(3), model.Sizing{Replicas: ptr(3)}, ""},
		{"a number instead of everywhere", everywhere, fixed(3), model.Sizing{Replicas: ptr(3)}, ""},
		{"everywhere", scaled(1, 0, 4), everywhere, model.Sizing{Everywhere: ptr(true)}, ""},
		{"not everywhere", everywhere, fixed(1), model.Sizing{Everywhere: ptr(false)}, ""},
		{"not everywhere, as it is", fixed(2), fixed(2), model.Sizing{Everywhere: ptr(false)}, ""},
		{"at least none", fixed(1), scaled(1, 0, 1), model.Sizing{MinReplicas: ptr(0)}, ""},
		{"at least more than there are", fixed(1), scaled(2, 2, 2), model.Sizing{MinReplicas: ptr(2)}, ""},
		{"at most", fixed(1), scaled(1, 1, 4), model.Sizing{MaxReplicas: ptr(4)}, ""},
		{"both, and where to begin", fixed(1), scaled(0, 0, 4), model.Sizing{Replicas: ptr(0), MinReplicas: ptr(0), MaxReplicas: ptr(4)}, ""},
		{"other bounds", scaled(3, 0, 4), scaled(2, 0, 2), model.Sizing{MaxReplicas: ptr(2)}, ""},
		{"bounds after everywhere", everywhere, scaled(1, 0, 3), model.Sizing{MinReplicas: ptr(0), MaxReplicas: ptr(3)}, ""},
		{
			"how long and how many", scaled(1, 0, 4),
			model.Spec{Replicas: 1, MaxReplicas: 4, IdleTimeout: time.Minute, TargetInFlight: 8},
			model.Sizing{IdleTimeout: ptr(time.Minute), TargetInFlight: ptr(8)},
			"",
		},
		{"too many", fixed(1), none, model.Sizing{Replicas: ptr(65)}, "spec.replicas: is 65; 0 to 64 are allowed"},
		{"both ways", fixed(1), none, model.Sizing{Everywhere: ptr(true), MinReplicas: ptr(0)}, "spec.everywhere: does not go with spec.minReplicas and spec.maxReplicas; give one or the other"},
		{"a number of all", fixed(1), none, model.Sizing{Everywhere: ptr(true), Replicas: ptr(1)}, "spec.everywhere: does not go with spec.replicas; give one or the other"},
		{"none at most", fixed(1), none, model.Sizing{MaxReplicas: ptr(0)}, "spec.maxReplicas: is 0; 1 to 64 are allowed"},
		{"more at least than at most", fixed(1), none, model.Sizing{MinReplicas: ptr(3), MaxReplicas: ptr(2)}, "spec.minReplicas: is 3; 0 to 2 are allowed, as spec.maxReplicas is 2"},
		{"beginning outside", fixed(1), none, model.Sizing{Replicas: ptr(5), MaxReplicas: ptr(2)}, "spec.replicas: is 5; 1 to 2 are allowed, as spec.minReplicas and spec.maxReplicas say"},
		{"how long of a fixed number", fixed(1), none, model.Sizing{IdleTimeout: ptr(time.Minute)}, "spec.idleTimeout: goes with spec.minReplicas and spec.maxReplicas only"},
		{"how many of a fixed number", fixed(1), none, model.Sizing{TargetInFlight: ptr(8)}, "spec.targetInFlight: goes with spec.minReplicas and spec.maxReplicas only"},
		{"too long", scaled(1, 0, 4), none, model.Sizing{IdleTimeout: ptr(8 * 24 * time.Hour)}, "spec.idleTimeout: is 192h0m0s; 1s to 168h0m0s are allowed"},
	} {
		got := tt.from
		err := got.Size(tt.say)
		switch {
		case tt.wantErr != "" && (err == nil || err.Error() != tt.wantErr || fault.CodeOf(err) != fault.Invalid):
			t.Errorf("%s: error = %v, want %s", tt.name, err, tt.wantErr)
		case tt.wantErr == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.wantErr == "" && !sameSize(got, tt.want):
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

var none model.Spec

func ptr[T any](v T) *T { return &v }

func sameSize(a, b model.Spec) bool {
	return a.Replicas == b.Replicas && a.Everywhere == b.Everywhere && a.MinReplicas == b.MinReplicas && a.MaxReplicas == b.MaxReplicas &&
		a.IdleTimeout == b.IdleTimeout && a.TargetInFlight == b.TargetInFlight
}
