package anywhere

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// decimal brings the value of a flag that takes a number to the form that the cli
// package reads as people mean it: 010 is ten and not eight, 1e3 is a thousand,
// and a decimal comma is an error that shows the point.
func decimal(f cli.Flag, name, value string) (string, error) {
	whole := false
	switch f.(type) {
	case *cli.IntFlag, *cli.Int64Flag, *cli.UintFlag, *cli.Uint64Flag:
		whole = true
	case *cli.Float64Flag:
	default:
		return value, nil
	}
	if comma := strings.Replace(value, ",", ".", 1); comma != value && plain(comma) {
		return "", fmt.Errorf("--%s %s: write the decimal point as in %s", name, value, comma)
	}
	if !whole {
		switch _, err := strconv.ParseFloat(value, 64); {
		case errors.Is(err, strconv.ErrRange):
			return "", fmt.Errorf("--%s %s: give a smaller number", name, value)
		case err != nil:
			return "", fmt.Errorf("--%s %s: give a number", name, value)
		}
		return value, nil
	}
	if !plain(value) {
		if _, err := strconv.ParseInt(value, 0, 64); err != nil { // 0x10 is one
			return "", fmt.Errorf("--%s %s: give a whole number", name, value)
		}
		return value, nil
	}
	if _, unsigned := f.(*cli.Uint64Flag); unsigned && strings.HasPrefix(value, "-") {
		return "", fmt.Errorf("--%s %s: give a whole number, 0 or more", name, value)
	}
	n, ok := new(big.Float).SetPrec(200).SetString(value)
	if !ok || n.MantExp(nil) > 63 {
		return "", fmt.Errorf("--%s %s: give a smaller number", name, value)
	}
	i, accuracy := n.Int(nil)
	if accuracy != big.Exact {
		return "", fmt.Errorf("--%s %s: give a whole number", name, value)
	}
	return i.String(), nil
}

// plain reports whether a value is a decimal number: digits, perhaps a point and
// an exponent of two digits, and nothing that means another base.
func plain(v string) bool {
	v = strings.TrimLeft(v, "+-")
	mantissa, exponent, has := strings.Cut(strings.ToLower(v), "e")
	exponent = strings.TrimLeft(exponent, "+-")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	before, after, point := strings.Cut(mantissa, ".")
	if !digits(before) && (!point || before != "" || !digits(after)) || point && after != "" && !digits(after) {
		return false
	}
	return !has || digits(exponent) && len(exponent) <= 2
}
