package agent

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/orchion/orchion/node-agent/internal/driver/fake"
	"github.com/orchion/orchion/node-agent/internal/fakeorchestrator"
)

// A node says which images it has when it connects, after a pull, after people
// changed something, and not otherwise.
func TestSaysItsImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTrial(t)
		defer tr.close()
		tr.machine.engine.AddRemoteImage("pulled:1", fake.RemoteImage{Image: fake.Image{Entrypoint: []string{"/wait"}}})
		tr.run()
		said := make(chan string, 16)
		follow := func(s *fakeorchestrator.Stream) {
			for {
				select {
				case m := <-s.Said:
					if m.GetImagesChanged() != nil {
						said <- fmt.Sprint(m.GetImagesChanged().GetImages())
					}
				case <-s.Done():
					return
				}
			}
		}
		want := func(what, want string) {
			t.Helper()
			synctest.Wait()
			select {
			case got := <-said:
				if got != want {
					t.Errorf("%s: it says %s, want %s", what, got, want)
				}
			default:
				if want != "" {
					t.Errorf("%s: it says nothing", what)
				}
			}
		}
		s := <-tr.far.Streams
		go follow(s)
		s.Say(assignments())
		want("when it connects", "[docker.io/library/wait:1]")
		time.Sleep(2 * imagesPeriod)
		want("when nothing changes", "")

		needs := job("a")
		needs.GetSpec().GetContainer().Image = "pulled:1"
		s.Say(assignments(needs))
		want("after a pull", "[docker.io/library/pulled:1 docker.io/library/wait:1]")
		s.End(status.Error(codes.Unavailable, "the connection was lost"))
		s = <-tr.far.Streams
		go follow(s)
		s.Say(assignments())
		want("on the next stream", "[docker.io/library/pulled:1 docker.io/library/wait:1]")

		if err := tr.machine.engine.RemoveImage(t.Context(), "wait:1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(imagesPeriod)
		want("after one was removed", "[docker.io/library/pulled:1]")
	})
}
