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
		{"1_000", "1_000"},
	} {
		if got, err := decimal(&cli.IntFlag{}, "n", c.in); err != nil || got != c.want {
			t.Errorf("%s is %s, %v; want %s", c.in, got, err, c.want)
		}
	}
	for in, want := range map[string]string{
		"1,5": "as in 1.5", "0.5": "whole number", "1e-3": "whole number", "ten": "whole number", "": "whole number", "1e99": "smaller number",
		"-": "whole number", ".": "whole number", "e3": "whole number", "1.2.3": "whole number", "512px": "--n 512px: give a whole number", "1e999": "whole number",
	} {
		if _, err := decimal(&cli.IntFlag{}, "n", in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
	for in, want := range map[string]string{"1e-3": "1e-3", "0.5": "0.5", "010": "010"} {
		if got, err := decimal(&cli.Float64Flag{}, "lr", in); err != nil || got != want {
			t.Errorf("%s is %s, %v", in, got, err)
		}
	}
	for _, bad := range []string{"", "strong", "50%", "1 2"} {
		if _, err := decimal(&cli.Float64Flag{}, "lr", bad); err == nil || !strings.Contains(err.Error(), "give a number") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := decimal(&cli.Float64Flag{}, "lr", "1e400"); err == nil || err.Error() != "--lr 1e400: give a smaller number" {
		t.Errorf("1e400: %v", err)
	}
	if _, err := decimal(&cli.Uint64Flag{}, "seed", "-1"); err == nil || !strings.Contains(err.Error(), "0 or more") {
		t.Errorf("a seed of -1: %v", err)
	}
	if _, err := decimal(&cli.Float64Flag{}, "lr", "0,01"); err == nil || !strings.Contains(err.Error(), "as in 0.01") {
		t.Errorf("0,01: %v", err)
	}
	if got, err := decimal(&cli.StringFlag{}, "o", "010"); err != nil || got != "010" {
		t.Errorf("a name became %s, %v", got, err)
	}
}
