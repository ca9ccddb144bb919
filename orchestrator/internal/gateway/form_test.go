package gateway

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

// form writes a form's text with CR LF where there are line ends.
func form(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }

const (
	formModel = "--b\nContent-Disposition: form-data; name=\"model\"\n\nm\n"
	formFile  = "--b\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\nContent-Type: audio/wav\n\nRIFF--b\n\n-- b\n"
)

func TestFindFormModel(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, body, want, wantErr string }{
		{"plain", form(formFile + formModel + "--b--\n"), "m", ""},
		{"without a last line end", form(formModel + formFile + "--b--"), "m", ""},
		{"empty value of another", form("--b\nContent-Disposition: form-data; name=x\n\n\n" + formModel + "--b--"), "m", ""},
		{"missing", form(formFile + "--b--\n"), "", "model is missing"},
		{"twice", form(formModel + formModel + "--b--\n"), "", "model is given twice"},
		{"other case", form(strings.Replace(formModel, "model", "Model", 1) + "--b--\n"), "", `the field "Model" must be spelled "model"`},
		{"empty", form("--b\nContent-Disposition: form-data; name=model\n\n\n--b--"), "", "model must not be empty"},
		{"two lines", form("--b\nContent-Disposition: form-data; name=model\n\na\nb\n--b--"), "", "model must be at most 512 characters without control characters"},
		{"text before", form("hello\n" + formModel + "--b--\n"), "", "invalid form: it does not begin with its boundary"},
		{"text after", form(formModel+"--b--\n") + "x", "", "invalid form: something follows its end at byte 59"},
		{"no end", form(formModel + formFile), "", "invalid form: it has no end: its last boundary with -- is missing"},
		{"cut off in the headers", form("--b\nContent-Disposition: form-data"), "", "invalid form: the headers of the field at byte 5 have no end within 8192 bytes"},
		{"bare line feed before a boundary", form(formModel+"--b\nContent-Disposition: form-data; name=x\n\ny") + "\n--b\r\n" + form("--b--"), "", "invalid form: a line at byte 105 begins as the boundary does"},
		{"a longer boundary", form(formModel + "--bb\n--b--"), "", "invalid form: a boundary must be followed by CR LF or --, at byte 59"},
		{"padding", form(formModel) + "--b \r\n" + form("--b--"), "", "invalid form: a boundary must be followed by CR LF or --, at byte 59"},
		{"folded header", form("--b\nContent-Disposition: form-data; name=\"model\"\n ; x=y\n\nm\n--b--"), "", `invalid form: the field at byte 5 has a header that is not "Name: value" on one line`},
		{"two names", form("--b\nContent-Disposition: form-data; name=a\nContent-Disposition: form-data; name=model\n\nm\n--b--"), "", `invalid form: the field at byte 5 needs one header Content-Disposition: form-data; name="..."`},
		{"no name", form("--b\nContent-Type: text/plain\n\nm\n--b--"), "", `invalid form: the field at byte 5 needs one header Content-Disposition: form-data; name="..."`},
		{"encoded", form("--b\nContent-Disposition: form-data; name=model\nContent-Transfer-Encoding: base64\n\nbQ==\n--b--"), "", "invalid form: the field at byte 5 has a Content-Transfer-Encoding, which forms do not have"},
		{"too many fields", form(strings.Repeat("--b\nContent-Disposition: form-data; name=x\n\n\n", 101) + "--b--"), "", "invalid form: it has more than 100 fields"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := findFormModel([]byte(c.body), "b")
			if c.wantErr != "" {
				if err == nil || err.Error() != c.wantErr {
					t.Fatalf("error = %v, want %q", err, c.wantErr)
				}
				return
			}
			if err != nil || got.Name != c.want {
				t.Fatalf("model = %q, %v, want %q", got.Name, err, c.want)
			}
		})
	}
	for _, boundary := range []string{"", "a\"b", "a\r\nb", "ends with a space ", strings.Repeat("x", 71)} {
		if _, err := findFormModel([]byte("--"+boundary+"--"), boundary); err == nil || !strings.Contains(err.Error(), "the boundary must be") {
			t.Errorf("boundary %q: %v", boundary, err)
		}
	}
}

// FuzzFindFormModel holds the reader of forms against mime/multipart: whatever
// is let through means the same to both.
func FuzzFindFormModel(f *testing.F) {
	f.Add([]byte(form(formFile + formModel + "--b--\n")))
	f.Add([]byte(form(formModel + "--b--")))
	f.Add([]byte(form(formModel) + "\n--b\n\n--b--"))
	f.Fuzz(func(t *testing.T, body []byte) {
		field, err := findFormModel(body, "b")
		if err != nil {
			return
		}
		for _, name := range []string{field.Name, "another"} {
			reader := multipart.NewReader(bytes.NewReader(replaceFormModel(body, field, name)), "b")
			models := 0
			for {
				part, err := reader.NextRawPart()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("accepted %q, which mime/multipart refuses: %v", body, err)
				}
				if part.FormName() != "model" {
					continue
				}
				models++
				if value, err := io.ReadAll(part); err != nil || string(value) != name {
					t.Fatalf("mime/multipart finds model %q (%v), want %q, in %q", value, err, name, body)
				}
			}
			if models != 1 {
				t.Fatalf("mime/multipart finds %d models in %q", models, body)
			}
		}
	})
}

// A form reaches the engine byte for byte, but for the model's name.
func TestFormPassesThrough(t *testing.T) {
	routes := fixedRoutes{{Model: "whisper", ServedModel: "/models/whisper", NodeID: "n1", ReplicaID: "r1", Engine: "vllm"}}
	audio := strings.Repeat("\x00\xff\r\n--", 10_000)
	var want bytes.Buffer
	write := func(model string) (body, contentType string) {
		want.Reset()
		w := multipart.NewWriter(&want)
		if err := w.SetBoundary("----WebKitFormBoundary7MA4YWxkTrZu0gW"); err != nil {
			t.Fatal(err)
		}
		file, err := w.CreateFormFile("file", "a.wav")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(file, audio)
		w.WriteField("model", model)
		w.WriteField("response_format", "srt")
		w.Close()
		return want.String(), w.FormDataContentType()
	}
	r := newRig(t, Config{Routes: routes}, map[string]http.Handler{"n1": http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if string(body) != want.String() {
			t.Errorf("the engine got\n%.300q", body)
		}
		if _, params, err := mime.ParseMediaType(req.Header.Get("Content-Type")); err != nil || params["boundary"] != "----WebKitFormBoundary7MA4YWxkTrZu0gW" {
			t.Errorf("the engine got Content-Type %q", req.Header.Get("Content-Type"))
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		io.WriteString(w, "1\n00:00:00 --> 00:00:01\nhello\n")
	})})
	for _, path := range []string{"/v1/audio/transcriptions", "/v1/audio/translations"} {
		body, contentType := write("whisper")
		write("/models/whisper")
		res := r.do(t, http.MethodPost, path, body, "Content-Type", contentType)
		if got := readAll(t, res); res.StatusCode != http.StatusOK || !strings.HasSuffix(got, "hello\n") {
			t.Errorf("%s answered %s: %s", path, res.Status, got)
		}
	}
	checkError(t, r.do(t, http.MethodPost, "/v1/audio/transcriptions", `{"model":"m"}`, "Content-Type", "application/json"), 400, "invalid_request", "",
		"invalid form: /v1/audio/transcriptions takes Content-Type multipart/form-data with a boundary")
}
