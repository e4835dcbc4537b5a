package plan

import (
	"bytes"
	"strings"
	"testing"
)

func TestChoices(t *testing.T) {
	var none *Choices
	if got := none.Get("d", "l"); got != "" {
		t.Errorf("no choices know %q", got)
	}
	c := &Choices{}
	if c.Changed() || c.Get("d", "l") != "" {
		t.Error("empty choices know something")
	}
	c.Set("d", "l", "entry")
	if !c.Changed() {
		t.Error("a choice is no change")
	}
	var b bytes.Buffer
	if err := c.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := ReadChoices(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Get("d", "l"); got != "entry" || again.Changed() {
		t.Errorf("read back: %q, changed %v", got, again.Changed())
	}
	for _, bad := range []string{"", "{", `{"d": 1}`, `[]`} {
		if _, err := ReadChoices(strings.NewReader(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
