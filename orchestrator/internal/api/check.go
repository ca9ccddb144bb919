package api

import (
	"encoding/base64"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/orchion/orchion/orchestrator/internal/fault"
	"github.com/orchion/orchion/orchestrator/internal/label"
	"github.com/orchion/orchion/orchestrator/internal/node"
	"github.com/orchion/orchion/orchestrator/internal/scheduler"
)

// Limits on what comes from outside. They are far above honest use and keep a
// mistake or an attack from filling the store or the memory.
const (
	maxLabels        = 64
	maxLabelKey      = 63
	maxLabelValue    = 253
	maxNodeID        = 128
	maxHostname      = 253
	maxText          = 256 // names of models, versions and the like
	maxReason        = 1024
	maxPath          = 4096
	maxEndpoint      = 512
	maxSelector      = 4096
	defaultPageSize  = 100
	maxPageSize      = 1000
	maxPageToken     = 1024
	maxIdempotency   = 255
	maxJobName       = 128
	maxImage         = 512
	maxDeployment    = 63
	maxConstraints   = 32
	maxConstraint    = 512
	maxInstanceID    = 128
	maxGPUs          = 64
	maxRuntimes      = 16
	maxEngines       = 32
	maxEngineModels  = 1000
	maxBytesQuantity = 1 << 50 // a pebibyte
)

var (
	nodeIDPattern     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	hostnamePattern   = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	labelKeyPattern   = regexp.MustCompile(`^[A-Za-z0-9._/-]+$`)
	deploymentPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)
)

// checkID checks the id of a node, as a client names it.
func checkID(field, id string) error {
	switch {
	case id == "":
		return fault.BadField(field, "must not be empty")
	case len(id) > maxNodeID:
		return fault.BadField(field, "has %d characters; at most %d are allowed", len(id), maxNodeID)
	case !nodeIDPattern.MatchString(id):
		return fault.BadField(field, "is %q; allowed are A-Z a-z 0-9 . _ -, starting with a letter or digit", id)
	}
	return nil
}

func checkHostname(field, name string) error {
	switch {
	case name == "":
		return fault.BadField(field, "must not be empty")
	case len(name) > maxHostname:
		return fault.BadField(field, "has %d characters; at most %d are allowed", len(name), maxHostname)
	case !hostnamePattern.MatchString(name):
		return fault.BadField(field, "is %q; allowed are A-Z a-z 0-9 . _ -", name)
	}
	return nil
}

// checkText checks text for people or programs: printable and not too long.
func checkText(field, text string, limit int) error {
	if len(text) > limit {
		return fault.BadField(field, "has %d bytes; at most %d are allowed", len(text), limit)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fault.BadField(field, "holds characters that cannot be printed")
	}
	return nil
}

// checkProse checks text for people that may have several lines.
func checkProse(field, text string, limit int) error {
	if len(text) > limit {
		return fault.BadField(field, "has %d bytes; at most %d are allowed", len(text), limit)
	}
	return nil
}

func checkRequired(field, text string, limit int) error {
	if text == "" {
		return fault.BadField(field, "must not be empty")
	}
	return checkText(field, text, limit)
}

func checkCount(field string, n, limit int) error {
	if n > limit {
		return fault.BadField(field, "has %d entries; at most %d are allowed", n, limit)
	}
	return nil
}

type integer interface{ ~int32 | ~int64 | ~int }

func checkRange[T integer](field string, v, low, high T) error {
	switch {
	case v < 0 && low == 0:
		return fault.BadField(field, "is %d; it must not be negative", v)
	case v < low || v > high:
		return fault.BadField(field, "is %d; it must be between %d and %d", v, low, high)
	}
	return nil
}

// checkPercent checks a measured percentage. Measurements may be off by
// rounding: a little more than 100 is taken for 100.
func checkPercent(field string, v float64) (float64, error) {
	const slack = 1
	if math.IsNaN(v) || v < 0 || v > 100+slack {
		return 0, fault.BadField(field, "is %v; it must be between 0 and 100", v)
	}
	return min(v, 100), nil
}

func checkLabels(field string, labels map[string]string) error {
	if err := checkCount(field, len(labels), maxLabels); err != nil {
		return err
	}
	for key, value := range labels {
		switch {
		case key == "" || len(key) > maxLabelKey || !labelKeyPattern.MatchString(key):
			return fault.BadField(field, "has the key %q; a key is 1 to %d characters of A-Z a-z 0-9 . _ / -", clip(key), maxLabelKey)
		case len(value) > maxLabelValue:
			return fault.BadField(field, "has a value of %d bytes for the key %q; at most %d are allowed", len(value), key, maxLabelValue)
		case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }):
			return fault.BadField(field, "has a value for the key %q that cannot be printed", key)
		}
	}
	return nil
}

func checkTaints(field string, taints []string) error {
	if err := checkCount(field, len(taints), node.MaxTaints); err != nil {
		return err
	}
	for i, taint := range taints {
		if err := checkTaint(indexed(field, i), taint); err != nil {
			return err
		}
	}
	return nil
}

func checkTaint(field, taint string) error {
	if len(taint) > maxLabelKey || !labelKeyPattern.MatchString(taint) {
		return fault.BadField(field, "is %q; a taint is 1 to %d characters of A-Z a-z 0-9 . _ / -", clip(taint), maxLabelKey)
	}
	return nil
}

// checkTolerations checks the taints that work tolerates.
func checkTolerations(field string, taints []string) error {
	if err := checkCount(field, len(taints), node.MaxTaints); err != nil {
		return err
	}
	for i, taint := range taints {
		if taint == scheduler.AllTaints {
			continue
		}
		if err := checkTaint(indexed(field, i), taint); err != nil {
			return err
		}
	}
	return nil
}

// clip keeps error messages short and readable whatever was sent.
func clip(text string) string {
	const most = 80
	ellipsis := ""
	if len(text) > most {
		text, ellipsis = text[:most], "…"
	}
	// What is not UTF-8 could not be answered.
	return strings.ToValidUTF8(text, "\ufffd") + ellipsis
}

func checkSelector(field, text string) (label.Selector, error) {
	if len(text) > maxSelector {
		return nil, fault.BadField(field, "has %d bytes; at most %d are allowed", len(text), maxSelector)
	}
	selector, err := label.Parse(text)
	if err != nil {
		return nil, fault.BadField(field, "%v", err)
	}
	return selector, nil
}

func checkHTTPURL(field, text string) error {
	if err := checkRequired(field, text, maxEndpoint); err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fault.BadField(field, "is %q; it must be a URL such as http://127.0.0.1:11434", clip(text))
	}
	return nil
}

// duration reads an optional duration; unset is 0.
func duration(field string, d *durationpb.Duration, low, high time.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil {
		return 0, fault.BadField(field, "is not a duration such as \"5s\"")
	}
	v := d.AsDuration()
	if v < low || v > high {
		return 0, fault.BadField(field, "is %v; it must be between %v and %v", v, low, high)
	}
	return v, nil
}

func pageSize(n int32) (int, error) {
	if n == 0 {
		return defaultPageSize, nil
	}
	return int(n), checkRange("pageSize", n, 1, maxPageSize)
}

// Page tokens are opaque to clients: today's cursor in URL-safe base64.

func pageToken(cursor string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursor))
}

func pageCursor(token string) (string, error) {
	cursor, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(token) > maxPageToken {
		return "", fault.BadField("pageToken", "is not a token that this orchestrator gave; take nextPageToken of the last answer")
	}
	return string(cursor), nil
}

// stateFilter reads states by name, with or without their prefix and in any
// case, separated by commas. all says that "all" was among them.
func stateFilter(field, text, prefix string, values map[string]int32) (states []int32, all bool, err error) {
	if text == "" {
		return nil, false, nil
	}
	for name := range strings.SplitSeq(text, ",") {
		name = strings.ToUpper(strings.TrimSpace(name))
		if name == "ALL" {
			all = true
			continue
		}
		value, ok := values[prefix+strings.TrimPrefix(name, prefix)]
		if !ok || value == 0 {
			return nil, false, fault.BadField(field, "is %q; allowed are %s", clip(text), allowed(values, "all"))
		}
		if !slices.Contains(states, value) {
			states = append(states, value)
		}
	}
	return states, all, nil
}

// allowed lists the names of an enum, its zero value left out.
func allowed(values map[string]int32, more ...string) string {
	names := make([]string, 0, len(values))
	for name, value := range values {
		if value != 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return int(values[a] - values[b]) })
	return strings.Join(append(names, more...), ", ")
}
