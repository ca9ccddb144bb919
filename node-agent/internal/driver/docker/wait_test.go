package docker

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/orchion/orchion/node-agent/internal/driver"
)

// Podman answers the wait for a container that was removed with an error and no code of the
// container's: what is known then is that it is gone.
func TestWaitForAContainerThatIsRemoved(t *testing.T) {
	removed := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/version"):
			fmt.Fprint(w, `{"ApiVersion":"1.40","Components":[{"Name":"Podman Engine","Version":"4.3.1"}]}`)
		case strings.HasSuffix(r.URL.Path, "/wait"):
			removed = true
			fmt.Fprint(w, `{"StatusCode":-1,"Error":{"Message":"container c does not exist in database"}}`)
		case strings.HasSuffix(r.URL.Path, "/containers/c/json") && !removed:
			fmt.Fprint(w, `{"Id":"c","Name":"/c","State":{"Status":"running"},"Config":{}}`)
		case strings.HasSuffix(r.URL.Path, "/containers/c/json"):
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message":"no such container"}`)
		}
	}))
	defer server.Close()
	d, err := Open(t.Context(), strings.Replace(server.URL, "http://", "tcp://", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	exit, err := d.Wait(t.Context(), "c")
	if driver.CodeOf(err) != driver.CodeNotFound || !strings.Contains(err.Error(), "no such container") {
		t.Errorf("Wait = %v, %v, want that it is not found", exit, err)
	}
}
