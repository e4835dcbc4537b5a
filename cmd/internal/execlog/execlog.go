// Package execlog is what ptxsim exec and the stand-in libraries in the program that it
// runs tell each other: settings on the way in, through the environment, and a record for
// each launch on the way out, through a file that is appended to. A record is there as
// soon as it is written, however the program ends.
//
// It imports gpu/sim.
package execlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// Variable holds the Settings, as JSON. Without it the libraries take the defaults and
// say at once what the checks find.
const Variable = "PTXSIM_EXEC"

// Settings are those of the device, and where records go.
type Settings struct {
	Arch     string `json:"arch,omitempty"`
	Mode     string `json:"mode,omitempty"`
	SMs      int    `json:"sms,omitempty"`
	Memory   int64  `json:"memory,omitempty"` // bytes
	NoChecks bool   `json:"no_checks,omitempty"`
	MaxSteps int64  `json:"max_steps,omitempty"`
	Log      string `json:"log,omitempty"` // the file of records
	PTX      string `json:"ptx,omitempty"` // a folder for the PTX that is loaded
}

// Record is one launch, or one call that the libraries do not have.
type Record struct {
	Kernel   string        `json:"kernel,omitempty"`
	Seconds  float64       `json:"seconds,omitempty"`
	Report   *sim.Report   `json:"report,omitempty"`   // what a check found
	Warnings []*sim.Report `json:"warnings,omitempty"` // what rests on no rule
	Refused  string        `json:"refused,omitempty"`  // why the simulator cannot run it
	Call     string        `json:"call,omitempty"`     // a function that is not supported
}

// Append returns a record as a line of the log.
func Append(r Record) ([]byte, error) {
	b, err := json.Marshal(r)
	return append(b, '\n'), err
}

// Read reads a log. A last line that was cut short, by a kill, is left out.
func Read(r io.Reader) ([]Record, error) {
	var records []Record
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return records, err
		}
		var rec Record
		if err := json.Unmarshal(bytes.TrimSpace(line), &rec); err != nil {
			return records, err
		}
		records = append(records, rec)
	}
}
