package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/orchion/orchion/node-agent/internal/driver"
	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/registries"
	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// fixedRegistries are credentials that do not change.
type fixedRegistries struct{ held *registries.Credentials }

func (r fixedRegistries) Current() *registries.Credentials { return r.held }

func TestRegistryCredentials(t *testing.T) {
	held, err := registries.Parse([]byte(`credentials:
  - {name: right, registry: registry.test, username: robot, password: s3cret}
  - {name: wrong, registry: registry.test, username: robot, password: wr0ng}
  - {name: other, registry: other.test, username: robot, password: s3cret}
  - {name: gone, registry: registry.test, username: robot, passwordFile: /none}
`))
	if err != nil {
		t.Fatal(err)
	}
	const failed, ok = orchionv1.AttemptState_ATTEMPT_STATE_FAILED, orchionv1.AttemptState_ATTEMPT_STATE_SUCCEEDED
	for _, tt := range []struct {
		name   string
		state  orchionv1.AttemptState
		class  orchionv1.FailureClass
		reason string
	}{
		{"right", ok, 0, ""},
		{"wrong", failed, orchionv1.FailureClass_FAILURE_CLASS_IMAGE, "unauthorized"},
		{"", failed, orchionv1.FailureClass_FAILURE_CLASS_IMAGE, "unauthorized"},
		{"other", failed, orchionv1.FailureClass_FAILURE_CLASS_NODE, "the registry credentials other are for other.test, and the image"},
		{"none", failed, orchionv1.FailureClass_FAILURE_CLASS_NODE, `this node holds no registry credentials "none"`},
		{"gone", failed, orchionv1.FailureClass_FAILURE_CLASS_NODE, "the registry credentials gone: passwordFile: /none: no such file"},
	} {
		t.Run("with "+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBed(t, func(c *Config) { c.Registries = fixedRegistries{held} })
				defer b.close()
				b.engine.AddRemoteImage("registry.test/private:1", fake.RemoteImage{
					Image: fake.Image{Entrypoint: []string{"/work"}},
					Login: driver.Login{Registry: "registry.test", Username: "robot", Password: "s3cret"},
				})
				a := container("a", "registry.test/private:1", "0", "0")
				a.GetSpec().GetContainer().RegistryCredentials = tt.name
				b.assign(a)
				time.Sleep(time.Second)
				synctest.Wait()
				last := b.far.last("a")
				if last.GetState() != tt.state || last.GetFailure() != tt.class || !strings.Contains(last.GetReason(), tt.reason) {
					t.Errorf("it ended with %v", last)
				}
				if reasons := b.far.reasons("a"); strings.Contains(reasons, "s3cret") || strings.Contains(reasons, "wr0ng") {
					t.Errorf("what was reported holds a password: %s", reasons)
				}
			})
		})
	}
}
