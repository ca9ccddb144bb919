package api

import (
	"bytes"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"pgregory.net/rapid"

	orchionv1 "github.com/orchion/orchion/shared/gen/go/orchion/v1"
)

// TestWithoutSpaces: it makes of what protojson writes what json.Compact does,
// whatever is in the texts.
func TestWithoutSpaces(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`\`, `"`, `\" `, ` \\`, `: , { }`, "\n\t\u00a0", ""}))
	rapid.Check(t, func(t *rapid.T) {
		j := jobOf(t, text)
		written, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(j)
		if err != nil {
			t.Skip("no valid text")
		}
		// It puts spaces in or not, for each program differently.
		spaced := bytes.ReplaceAll(written, []byte(`,"`), []byte(`, "`))
		for _, data := range [][]byte{written, spaced} {
			if !json.Valid(data) {
				continue // the space was put into a text, behind an escape
			}
			var want bytes.Buffer
			if err := json.Compact(&want, data); err != nil {
				t.Fatal(err)
			}
			if got := withoutSpaces(bytes.Clone(data)); !bytes.Equal(got, want.Bytes()) {
				t.Fatalf("of %s it made\n%s, want\n%s", data, got, want.Bytes())
			}
		}
	})
}

func jobOf(t *rapid.T, text *rapid.Generator[string]) *orchionv1.Job {
	return &orchionv1.Job{
		Id: text.Draw(t, "id"), Name: text.Draw(t, "name"), Reason: text.Draw(t, "reason"),
		Labels: rapid.MapOfN(text, text, 0, 3).Draw(t, "labels"),
		Spec: &orchionv1.JobSpec{
			Kind:     &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{Args: rapid.SliceOfN(text, 0, 3).Draw(t, "args")}},
			Priority: rapid.Int32().Draw(t, "priority"),
		},
		Attempts: []*orchionv1.Attempt{{Number: 1, Reason: text.Draw(t, "why")}, {}},
	}
}

func BenchmarkEncodeJSON(b *testing.B) {
	j := &orchionv1.Job{Id: "0193a1b2-c3d4-7e5f-8a9b-000000000000", Name: "container-1", Spec: &orchionv1.JobSpec{
		Kind: &orchionv1.JobSpec_Container{Container: &orchionv1.ContainerSpec{Image: "bench"}},
	}, Attempts: []*orchionv1.Attempt{{Number: 1, NodeId: "n1"}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := encodeJSON(j); err != nil {
			b.Fatal(err)
		}
	}
}
