package execlog

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// What was appended is read again; a kill in the middle of a line loses that line alone.
func TestRead(t *testing.T) {
	var log []byte
	for _, r := range []Record{{Kernel: "k", Seconds: 2}, {Kernel: "k", Report: &sim.Report{Kind: sim.Race, Line: 7, Msg: "a\nb"}}} {
		b, err := Append(r)
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, b...)
	}
	for _, tail := range []string{"", `{"kernel":"cut`} {
		rs, err := Read(strings.NewReader(string(log) + tail))
		if err != nil || len(rs) != 2 || rs[0].Seconds != 2 || rs[1].Report.Line != 7 || rs[1].Report.Msg != "a\nb" {
			t.Errorf("%v, %v", rs, err)
		}
	}
	if _, err := Read(bytes.NewReader([]byte("no record\n"))); err == nil {
		t.Error("read what is no record")
	}
}
