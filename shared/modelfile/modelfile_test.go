package modelfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	got, err := Parse("# a helper\r\nfrom qwen3:0.6b\n\nPARAMETER num_ctx 8192\nPARAMETER\ttemperature 0.2\nPARAMETER stop \"<end>\"\n" +
		"PARAMETER stop stop here\nPARAMETER penalize_newline false\nSYSTEM \"\"\"You are\n  brief.\"\"\"\n" +
		"TEMPLATE \"{{ .Prompt }}\"\nMESSAGE user Is it far?\nMESSAGE assistant \"\"\"No.\nNot at all.\"\"\"\nLICENSE MIT\nLICENSE \"\"\"\nmore\n\"\"\"")
	if err != nil {
		t.Fatal(err)
	}
	want := File{
		From: "qwen3:0.6b", System: "You are\n  brief.", Template: "{{ .Prompt }}",
		Parameters: map[string]any{
			"num_ctx": int64(8192), "temperature": 0.2, "stop": []string{"<end>", "stop here"}, "penalize_newline": false,
		},
		Messages: []Message{{"user", "Is it far?"}, {"assistant", "No.\nNot at all."}},
		Licenses: []string{"MIT", "\nmore\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                 "has no FROM, which names the model that it begins with, such as FROM qwen3:0.6b",
		"SYSTEM hello":                     "has no FROM, which names the model that it begins with, such as FROM qwen3:0.6b",
		"FROM a\nFROM b":                   "line 2: FROM stands twice",
		"FROM":                             "line 1: FROM has nothing after it",
		"FROM ./weights.gguf":              `line 1: FROM is "./weights.gguf"; it must be a model of a registry, such as qwen3:0.6b or hf.co/OWNER/NAME-GGUF:Q4_K_M`,
		"FROM /etc/passwd":                 `line 1: FROM is "/etc/passwd"; it must be a model of a registry, such as qwen3:0.6b or hf.co/OWNER/NAME-GGUF:Q4_K_M`,
		"FROM a/../b":                      `line 1: FROM is "a/../b"; it must be a model of a registry, such as qwen3:0.6b or hf.co/OWNER/NAME-GGUF:Q4_K_M`,
		"FROM a b":                         `line 1: FROM is "a b"; it must be a model of a registry, such as qwen3:0.6b or hf.co/OWNER/NAME-GGUF:Q4_K_M`,
		"FROM a\n\nADAPTER ./x":            "line 3: ADAPTER names a file, and files of a machine cannot be used here; make a model with it and name that in FROM",
		"FROM a\nRUN rm":                   `line 2: "RUN" is no instruction; there are FROM, PARAMETER, TEMPLATE, SYSTEM, MESSAGE and LICENSE`,
		"FROM a\nPARAMETER x":              "line 2: PARAMETER x has no value",
		"FROM a\nPARAMETER x; 1":           `line 2: PARAMETER "x;" is no name of a parameter`,
		"FROM a\nMESSAGE me hi":            `line 2: MESSAGE is of "me"; it can be of system, user and assistant`,
		"FROM a\nMESSAGE user":             "line 2: MESSAGE user has no text",
		"FROM a\nSYSTEM \"\"\"x\ny":        `line 2: a text in """ does not end`,
		"FROM a\nSYSTEM \"\"\"x\"\"\" y":   `line 2: something follows the closing quotes: " y"`,
		"FROM a\nSYSTEM \"x":               `line 2: a text in " does not end in its line; longer ones stand in """`,
		"FROM a\xff":                       "is not text in UTF-8",
		"FROM " + strings.Repeat("a", 400): "line 1: FROM has 400 characters; at most 350 are allowed",
		strings.Repeat("#", MaxSize+1):     "has 65537 bytes; at most 65536 are allowed",
		"FROM a\n" + strings.Repeat("LICENSE x\n", 1000): "line 1001: there are more than 1000 instructions",
	} {
		if f, err := Parse(text); err == nil {
			t.Errorf("%.60q is read as %+v", text, f)
		} else if err.Error() != want && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("FROM a\nPARAMETER stop \"\"\"x\"\"\"\nMESSAGE user \"\"\"a\nb\"\"\"")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse(text)
		if err == nil && (file.From == "" || strings.ContainsAny(file.From, " \n\\") || file.From[0] == '/' || file.From[0] == '.') {
			t.Errorf("%q begins with %q", text, file.From)
		}
	})
}
