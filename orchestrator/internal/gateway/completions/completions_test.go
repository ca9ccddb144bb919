package completions

import (
	"strings"
	"testing"
)

func TestReadEvent(t *testing.T) {
	a, err := ReadEvent([]byte(`{"choices":[{"delta":{"content":"hi","reasoning":"hm","tool_calls":[{"index":1,"id":"c","function":{"name":"f","arguments":"{"}}]},
		"finish_reason":"stop","stop_reason":"###"}],"usage":{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":2}},"error":null}`))
	if err != nil || len(a.Choices) != 1 || a.Usage.PromptDetails.CachedTokens != 2 {
		t.Fatalf("read %+v, %v", a, err)
	}
	c := a.Choices[0]
	if c.Delta.Content != "hi" || c.Delta.Thought() != "hm" || c.FinishReason != "stop" || string(c.StopReason) != `"###"` ||
		c.Delta.ToolCalls[0] != (DeltaCall{Index: 1, ID: "c", Function: CallFunction{Name: "f", Arguments: "{"}}) {
		t.Errorf("the choice is %+v", c)
	}
	if both := (&Delta{ReasoningContent: "once", Reasoning: "once"}).Thought(); both != "once" {
		t.Errorf("told by both names it is %q", both)
	}
	for data, want := range map[string]string{
		`{"error":{"message":"out of memory"}}`: `the engine reported {"message":"out of memory"}`,
		`{"choices":`:                           "unexpected end of JSON input",
	} {
		if _, err := ReadEvent([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", data, err, want)
		}
	}
}
