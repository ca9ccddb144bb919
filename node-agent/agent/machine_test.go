package agent

import (
	"testing"
	"testing/synctest"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
)

// What an agent that was killed left of its jobs' networks is removed by the next one, also by
// one that is to keep none ready.
func TestNetworksOfAnEarlierRun(t *testing.T) {
	for _, ready := range []int{0, defaultReadyNetworks} {
		synctest.Test(t, func(t *testing.T) {
			engine := fake.New(fake.Options{Programs: map[string]fake.Program{"/hold": func(p *fake.Process) int {
				<-p.Context().Done()
				return 0
			}}})
			defer engine.Close()
			engine.AddImage("holder:1", fake.Image{Entrypoint: []string{"/hold"}})
			spec := driver.JobSpec("holder:1")
			spec.Labels = map[string]string{driver.LabelPrefix + "network.node": "node-1", driver.LabelPrefix + "network.run": "earlier"}
			if _, err := engine.Create(t.Context(), spec); err != nil {
				t.Fatal(err)
			}

			cfg := DefaultConfig()
			cfg.ReadyNetworks, cfg.DataDir = ready, t.TempDir()
			services := newMachine(cfg).services("node-1", engine, nil, func() []string { return nil }, nil)
			defer services.close()
			if err := services.networks.Reap(t.Context(), func(string) bool { return false }); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if left, err := engine.List(t.Context(), nil); err != nil || len(left) > 0 {
				t.Errorf("with %d ready networks: left %v, %v", ready, left, err)
			}
		})
	}
}
