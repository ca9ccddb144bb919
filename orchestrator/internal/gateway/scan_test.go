package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestFindModel(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, body string
		want       string // the model
		wantErr    string
	}{
		{"plain", `{"model":"qwen3:0.6b","messages":[]}`, "qwen3:0.6b", ""},
		{"spaces and order", " {\n\t\"stream\" : true , \"a\":{\"model\":\"inner\"}, \"model\" : \"m\" }\r\n", "m", ""},
		{"escaped value", `{"model":"a\u002fb\n"}`, "", "model must be at most 512 characters without control characters"},
		{"escaped slash", `{"model":"a\/b"}`, "a/b", ""},
		{"escaped key", `{"mod\u0065l":"m"}`, "m", ""},
		{"all kinds of values", `{"a":[1,-2.5e+3,0,true,false,null,"x\\\"",{}, []],"model":"m"}`, "m", ""},
		{"twice", `{"model":"a","model":"b"}`, "", "model is given twice"},
		{"twice, one escaped", `{"model":"a","\u006dodel":"b"}`, "", "model is given twice"},
		{"other case", `{"model":"a","MODEL":"b"}`, "", `the key "MODEL" must be spelled "model"`},
		{"missing", `{"messages":[]}`, "", "model is missing"},
		{"not a string", `{"model":5}`, "", "model must be a string"},
		{"null", `{"model":null}`, "", "model must be a string"},
		{"empty", `{"model":""}`, "", "model must not be empty"},
		{"too long", `{"model":"` + strings.Repeat("x", 513) + `"}`, "", "model must be at most 512 characters without control characters"},
		{"empty body", ``, "", "invalid JSON at byte 0: the body must be a JSON object (the body ends here)"},
		{"array", `[1]`, "", "invalid JSON at byte 0: the body must be a JSON object"},
		{"cut off", `{"model":"m"`, "", "invalid JSON at byte 12: expected ',' or '}' in an object (the body ends here)"},
		{"trailing comma", `{"model":"m",}`, "", "invalid JSON at byte 13: expected a key in double quotes"},
		{"second object", `{"model":"m"}{"model":"n"}`, "", "invalid JSON at byte 13: something follows the JSON object"},
		{"bad UTF-8", "{\"model\":\"m\",\"a\":\"\xff\"}", "", "invalid JSON at byte 18: a string is not valid UTF-8"},
		{"raw newline", "{\"model\":\"m\n\"}", "", "invalid JSON at byte 11: a control character in a string must be escaped"},
		{"bad escape", `{"model":"\x"}`, "", "invalid JSON at byte 11: unknown escape in a string"},
		{"bad unicode escape", `{"model":"\u12g4"}`, "", `invalid JSON at byte 14: \u needs four hexadecimal digits`},
		{"leading zero", `{"a":01,"model":"m"}`, "", "invalid JSON at byte 6: expected ',' or '}' in an object"},
		{"bad number", `{"a":1.,"model":"m"}`, "", "invalid JSON at byte 7: expected a digit after the decimal point"},
		{"bad literal", `{"a":nul,"model":"m"}`, "", "invalid JSON at byte 5: expected a value"},
		{"too deep", `{"model":"m","a":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`, "", "invalid JSON at byte 10017: nested deeper than 10000"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := findModel([]byte(c.body))
			if c.wantErr != "" {
				if err == nil || err.Error() != c.wantErr {
					t.Fatalf("error = %v, want %q", err, c.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.Name != c.want {
				t.Errorf("model = %q, want %q", got.Name, c.want)
			}
			replaced := replaceModel([]byte(c.body), got, "new \"one\"")
			var decoded struct{ Model string }
			if err := json.Unmarshal(replaced, &decoded); err != nil || decoded.Model != `new "one"` {
				t.Errorf("replaced body %s holds model %q (%v)", replaced, decoded.Model, err)
			}
			if same := replaceModel([]byte(c.body), got, got.Name); len(same) == len(c.body) && !bytes.Equal(same, []byte(c.body)) {
				t.Errorf("replacing a model by itself changed the body: %s", same)
			}
		})
	}
}

// FuzzFindModel holds the scanner against encoding/json.
func FuzzFindModel(f *testing.F) {
	f.Add([]byte(`{"model":"m","a":[1,2.5e-3,"x\u00e9",null]}`))
	f.Add([]byte(`{"model":"m"} x`))
	f.Fuzz(func(t *testing.T, body []byte) {
		field, err := findModel(body)
		var syntax *syntaxError
		if errors.As(err, &syntax) {
			if json.Valid(body) && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) &&
				!strings.Contains(syntax.What, "UTF-8") {
				t.Fatalf("refused valid JSON %q: %v", body, err)
			}
			return
		}
		if err != nil {
			return // the model is wrong, which may be said before the rest is read
		}
		var decoded map[string]json.RawMessage
		if err := json.Unmarshal(body, &decoded); err != nil {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", body, err)
		}
		if string(decoded["model"]) != string(body[field.Start:field.End]) {
			t.Fatalf("found %q, encoding/json finds %q", body[field.Start:field.End], decoded["model"])
		}
	})
}

func BenchmarkFindModel(b *testing.B) {
	body := []byte(`{"messages":[{"role":"user","content":"` + strings.Repeat("words and words ", 64) + `"}],"model":"m"}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := findModel(body); err != nil {
			b.Fatal(err)
		}
	}
}
