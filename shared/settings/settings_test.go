package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

type values struct {
	port    int
	name    string
	every   time.Duration
	origins []string
	labels  map[string]string
}

func flagSet(t *testing.T, arguments ...string) (*pflag.FlagSet, *values) {
	t.Helper()
	v := &values{}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.IntVar(&v.port, "http-port", 8080, "")
	flags.StringVar(&v.name, "name", "default", "")
	flags.DurationVar(&v.every, "every", time.Second, "")
	flags.StringSliceVar(&v.origins, "origins", []string{"default"}, "")
	flags.StringToStringVar(&v.labels, "labels", nil, "")
	flags.String("config", "", "")
	if err := flags.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return flags, v
}

func environment(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func apply(flags *pflag.FlagSet, s Source) error {
	s.CommandLineOnly = []string{"config"}
	if err := ApplyEnv(flags, s); err != nil {
		return err
	}
	return ApplyFile(flags, s)
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	flags, v := flagSet(t, "--http-port", "1")
	err := apply(flags, Source{
		LookupEnv: environment("ORCHION_HTTP_PORT", "2", "ORCHION_EVERY", "2m", "ORCHION_NAME", ""),
		File: file(t, `
# a comment
http-port: 3
every: 3m
name: from the file
origins: [http://a, http://b]
labels: {room: lab, rack: "7"}
`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if v.port != 1 || v.every != 2*time.Minute || v.name != "from the file" ||
		strings.Join(v.origins, " ") != "http://a http://b" || v.labels["room"] != "lab" || v.labels["rack"] != "7" {
		t.Errorf("settings are %+v", v)
	}
	flags, v = flagSet(t)
	if err := apply(flags, Source{LookupEnv: environment("ORCHION_ORIGINS", "x,y", "ORCHION_LABELS", "a=b,c=d")}); err != nil {
		t.Fatal(err)
	}
	if v.port != 8080 || v.name != "default" || strings.Join(v.origins, " ") != "x y" || v.labels["c"] != "d" {
		t.Errorf("settings are %+v", v)
	}
}

func TestWrongSettings(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	for name, tc := range map[string]struct {
		env  []string
		file string // content, unless path is set
		path string
		want string
	}{
		"environment":   {env: []string{"ORCHION_HTTP_PORT", "x"}, want: `ORCHION_HTTP_PORT: is "x": `},
		"unknown key":   {file: "\nport: 1\n", want: `settings.yaml:2: there is no setting "port"; there are every, http-port, labels, name, origins`},
		"command line":  {file: "config: x\n", want: `there is no setting "config"`},
		"twice":         {file: "name: a\nname: b\n", want: "name"},
		"value":         {file: "name: ok\nhttp-port: many\n", want: `settings.yaml:2: http-port: is "many": `},
		"no value":      {file: "name:\n", want: "settings.yaml:1: name: has no value"},
		"list":          {file: "name: [a, b]\n", want: "name: is a list; one value of type string is expected"},
		"mapping":       {file: "origins: {a: b}\n", want: "origins: is a mapping; a value of type stringSlice is expected"},
		"nested list":   {file: "origins: [[a]]\n", want: "origins: holds something that is not a plain value"},
		"nested map":    {file: "labels: {a: {b: c}}\n", want: "labels: holds something under a that is not a plain value"},
		"no mapping":    {file: "- a\n", want: `settings.yaml:1: must hold lines such as "every: value"`},
		"not YAML":      {file: "a: [\n", want: "settings.yaml: yaml: "},
		"missing":       {path: missing, want: "none.yaml does not exist"},
		"folder":        {path: t.TempDir(), want: "is a folder; the settings file is a YAML file"},
		"far too large": {file: strings.Repeat("# padding\n", 200_000), want: "a settings file has at most 1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Source{LookupEnv: environment(tc.env...), File: tc.path, Required: true}
			if tc.file != "" {
				s.File = file(t, tc.file)
			}
			flags, _ := flagSet(t)
			err := apply(flags, s)
			var wrong *Error
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want an *Error with %q", err, tc.want)
			}
		})
	}
}

func TestFileMayBeMissingOrEmpty(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "none.yaml"), file(t, ""), file(t, "# only this\n")} {
		flags, v := flagSet(t)
		if err := apply(flags, Source{LookupEnv: environment(), File: path}); err != nil || v.port != 8080 {
			t.Errorf("%q: %v, %+v", path, err, v)
		}
	}
}
