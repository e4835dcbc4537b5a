package given

import (
	"testing"

	"github.com/urfave/cli/v2"
)

// A flag that is left out is nil, also where its zero value is given elsewhere,
// and an alias counts.
func TestGiven(t *testing.T) {
	for _, c := range []struct {
		args  []string
		given bool
		n     int
	}{
		{nil, false, 7},
		{[]string{"--number", "0"}, true, 0},
		{[]string{"-n", "3"}, true, 3},
	} {
		var n *int
		app := &cli.App{
			Flags:  []cli.Flag{&cli.IntFlag{Name: "number", Aliases: []string{"n"}, Action: To(&n)}},
			Action: func(*cli.Context) error { return nil },
		}
		if err := app.Run(append([]string{"app"}, c.args...)); err != nil {
			t.Fatal(err)
		}
		if (n != nil) != c.given || Or(n, 7) != c.n {
			t.Errorf("%v: %v, %d", c.args, n, Or(n, 7))
		}
		v := 7
		if Replace(&v, n); v != c.n {
			t.Errorf("%v replaces 7 by %d", c.args, v)
		}
	}
}
