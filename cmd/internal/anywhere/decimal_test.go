package anywhere

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Numbers are decimal, and mean what people mean.
func TestDecimal(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"10", "10"},
		{"010", "10"},
		{"-010", "-10"},
		{"+7", "7"},
		{"1e3", "1000"},
		{"1E3", "1000"},
		{"2.5e1", "25"},
		{"20000.0", "20000"},
		{"000", "0"},
		{"0x10", "0x10"},
		{"ten", "ten"},
		{"", ""},
		{"1_000", "1_000"},
		{"1e999", "1e999"},
		{"-", "-"},
		{".", "."},
		{"e3", "e3"},
		{"1.2.3", "1.2.3"}, // the cli package's business
	} {
		if got, err := decimal(&cli.IntFlag{}, "n", c.in); err != nil || got != c.want {
			t.Errorf("%s is %s, %v; want %s", c.in, got, err, c.want)
		}
	}
	for in, want := range map[string]string{"1,5": "as in 1.5", "0.5": "whole number", "1e-3": "whole number"} {
		if _, err := decimal(&cli.IntFlag{}, "n", in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
	for in, want := range map[string]string{"1e-3": "1e-3", "0.5": "0.5", "010": "010"} {
		if got, err := decimal(&cli.Float64Flag{}, "lr", in); err != nil || got != want {
			t.Errorf("%s is %s, %v", in, got, err)
		}
	}
	if _, err := decimal(&cli.Float64Flag{}, "lr", "0,01"); err == nil || !strings.Contains(err.Error(), "as in 0.01") {
		t.Errorf("0,01: %v", err)
	}
	if got, err := decimal(&cli.StringFlag{}, "o", "010"); err != nil || got != "010" {
		t.Errorf("a name became %s, %v", got, err)
	}
}
