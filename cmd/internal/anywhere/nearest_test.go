package anywhere

import "testing"

// A word is near another by its bytes, whatever letters it has.
func TestNearest(t *testing.T) {
	words := []string{"load", "launch", "expect"}
	for name, want := range map[string]string{
		"laod": "load", "lunch": "launch", "expct": "expect", "loud": "load", "frob": "", "l": "", "öäüöäüöäüö": "", "lo\xff\xfe\xfd\xfc": "",
	} {
		if got := Nearest(words, name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
