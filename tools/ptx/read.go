package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stylize-gpu/stylize/gpu/ptx"
)

// read takes the signatures, the tables and the constants of a source into args.
func read(bin, src, each, module string, t target, args *api) error {
	text, err := nvcc(bin, "-E", "-arch="+t.compute, "-DEACH="+each, "-DMAYBE_NULL="+maybeNull, src)
	if err != nil {
		return err
	}
	s, err := scan(text, filepath.Dir(src))
	if err != nil {
		return err
	}
	values, err := evaluate(bin, src, each, t, expressions(s))
	if err != nil {
		return err
	}
	return args.add(filepath.Base(src), module, s, values)
}

// nvcc runs the compiler for its standard output.
func nvcc(bin string, args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(bin, "nvcc"), append([]string{"-std=c++17"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	var msg strings.Builder
	cmd.Stderr = &msg
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("nvcc: %w\n%s", err, msg.String())
	}
	return out, nil
}

// prologue makes every kernel a function that nobody calls, so that nothing of it
// is compiled.
const prologue = `#include <cstddef>
#undef __global__
#define __global__ __device__ __forceinline__
#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __cluster_dims__
#define __cluster_dims__(...)
#undef __grid_constant__
#define __grid_constant__
`

// evaluate asks the compiler for the values of constant expressions in a source:
// sizes and offsets are those that device code is compiled with.
func evaluate(bin, src, each string, t target, expressions []string) (values map[string]int64, err error) {
	values = map[string]int64{}
	if len(expressions) == 0 {
		return values, nil
	}
	tmp, err := os.MkdirTemp("", "ptx")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	probe := prologue + fmt.Sprintf("#include %q\nextern \"C\" __device__ long long values[] = {%s};\n", filepath.Base(src), strings.Join(expressions, ", "))
	in, out := filepath.Join(tmp, "values.cu"), filepath.Join(tmp, "values.ptx")
	if err := os.WriteFile(in, []byte(probe), 0o644); err != nil {
		return nil, err
	}
	if _, err := nvcc(bin, "-ptx", "-arch="+t.compute, "-DEACH="+each, "-I"+filepath.Dir(src), "-o", out, in); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	m, err := ptx.Parse(out, text)
	if err != nil {
		return nil, err
	}
	if len(m.Globals) != 1 || m.Globals[0].Size != 8*len(expressions) {
		return nil, fmt.Errorf("%d values of constants were expected in\n%s", len(expressions), text)
	}
	b := slices.Concat(m.Globals[0].Init, make([]byte, m.Globals[0].Size)) // zeros at the end are not written
	for i, e := range expressions {
		values[e] = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return values, nil
}
