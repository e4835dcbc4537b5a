package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/stylize-gpu/stylize/gpu/sim"
)

// kernelInfo is what list prints of a kernel.
type kernelInfo struct {
	Name          string      `json:"name"`              // as PTX has it
	Label         string      `json:"label"`             // as messages have it, and as run takes it
	Demangled     string      `json:"demangled"`         // as its source has it, with parameters
	Refused       string      `json:"refused,omitempty"` // why it cannot run; nothing else is known then
	Params        []sim.Param `json:"params"`
	Instructions  int         `json:"instructions"`
	StaticShared  int         `json:"static_shared_bytes"`
	DynamicShared bool        `json:"dynamic_shared"`
	Local         int         `json:"local_bytes"`
	MaxThreads    int         `json:"max_threads"`
}

// list prints the kernels and the variables of a file. With --json it prints the kernels.
func list(args []string, f listFlags, stdout io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("list takes one file, got %d arguments", len(args))
	}
	s := newSession(&options{arch: f.arch}, sim.Eager, nil, nil, false)
	mod, err := s.load(args[0])
	if err != nil {
		return &plainError{err, plain(err.Error())}
	}
	var infos []kernelInfo
	for _, k := range mod.Kernels {
		n := 0
		for _, v := range k.Opcodes() {
			n += v
		}
		infos = append(infos, kernelInfo{
			Name: k.Name, Label: mod.kernels.label[k.Name], Demangled: demangled(k.Name), Params: k.Params(), Instructions: n,
			StaticShared: k.StaticShared(), DynamicShared: k.DynamicShared(), Local: k.LocalBytes(), MaxThreads: k.MaxThreads(),
		})
	}
	for _, e := range mod.Refused {
		infos = append(infos, kernelInfo{
			Name: e.Entry, Label: mod.kernels.label[e.Entry], Demangled: demangled(e.Entry),
			Refused: fmt.Sprintf("line %d: %s", e.Pos.Line, e.Msg),
		})
	}
	if f.json {
		return printJSON(stdout, infos)
	}
	for _, k := range infos {
		if k.Refused != "" {
			fmt.Fprintf(stdout, "%s: cannot run: %s\n", k.Label, s.plain(k.Refused))
			continue
		}
		shared := fmt.Sprintf("%d bytes shared", k.StaticShared)
		if k.DynamicShared {
			shared += " and dynamic"
		}
		fmt.Fprintf(stdout, "%s: %d instructions, %s, at most %d threads\n", k.Label, k.Instructions, shared, k.MaxThreads)
		t := tabwriter.NewWriter(stdout, 2, 0, 2, ' ', 0)
		for _, p := range k.Params {
			fmt.Fprintf(t, "  %d\t%s\t%s\n", p.Offset, p.Type, s.plain(p.Name))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(infos) == 0 {
		fmt.Fprintf(stdout, "%s has no kernels\n", mod.File)
	}
	for _, v := range mod.Variables() {
		p := mod.variables[v.Name]
		values, err := s.first(p, 8)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s: .%s variable, %s, %d bytes: %s\n", mod.vars.label[v.Name], v.Space, v.Type, v.Bytes, text(values, elems(p.shape)))
	}
	return nil
}

// kernelNames are those of a module, with the ones that cannot run.
func kernelNames(mod *sim.Module) *names {
	var all []string
	for _, k := range mod.Kernels {
		all = append(all, k.Name)
	}
	for _, e := range mod.Refused {
		all = append(all, e.Entry)
	}
	return newNames("kernel", mod.File, all)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
