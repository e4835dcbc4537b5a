package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stylize-gpu/stylize/cmd/internal/execlog"
	"github.com/stylize-gpu/stylize/gpu/sim"
)

// programs is what the tests of exec build once: ptxsim with its libraries.
var programs struct {
	sync.Once
	dir string // with ptxsim and ptxsim-cuda
	err string
}

// TestMain removes the folder of programs.
func TestMain(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// built returns the folder of ptxsim and of its stand-in libraries, made from the sources.
func built(t *testing.T) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("LEFT OUT: exec needs Linux and gcc")
	}
	programs.Do(func() {
		for _, folder := range []string{"cudart", "examples", "testdata/exec", "../../gpu/cuda/driver/simulated"} {
			read(t, folder)
		}
		dir, err := os.MkdirTemp("", "ptxsim-exec-")
		if err != nil {
			programs.err = err.Error()
			return
		}
		programs.dir = dir
		for _, c := range []*exec.Cmd{
			exec.Command("go", "build", "-o", dir, "."),
			exec.Command("cudart/build.sh", filepath.Join(dir, "ptxsim-cuda")),
			exec.Command(gcc, "-Wall", "-Wextra", "-Werror", "examples/driver.c", "-o", filepath.Join(dir, "driver"), "-L"+filepath.Join(dir, "ptxsim-cuda"), "-lcuda"),
			exec.Command(gcc, "-Wall", "-Wextra", "-Werror", "testdata/exec/calls.c", "-o", filepath.Join(dir, "calls"), "-L"+filepath.Join(dir, "ptxsim-cuda"), "-lcuda", "-lcudart"),
		} {
			if out, err := c.CombinedOutput(); err != nil {
				programs.err = c.String() + ": " + err.Error() + "\n" + string(out)
				return
			}
		}
	})
	if programs.err != "" {
		t.Fatal(programs.err)
	}
	return programs.dir
}

// read reads what others compile, so that the go command does not take an older result of
// the test for today's.
func read(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			_, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// executed runs ptxsim exec, as a user does.
func executed(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := exec.Command(filepath.Join(built(t), "ptxsim"), append([]string{"exec"}, args...)...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), errs.String()
}

// A program in C that uses the driver API runs, and one that goes beyond its arrays is found
// out, with the driver's error for the program and an exit code for whoever runs it.
func TestExecDriver(t *testing.T) {
	driver := filepath.Join(built(t), "driver")
	code, out, errs := executed(t, driver)
	if code != 0 || out != "Simulated sm_90a: right\n" || errs != "ptxsim: clean under every check: 1 launch of 1 kernel in 0.0 s\n" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	code, out, errs = executed(t, driver, "more")
	for _, want := range []string{
		"cuCtxSynchronize(): CUDA_ERROR_ILLEGAL_ADDRESS (700)\n",
		"ptxsim: error: axpy: out of bounds at driver.1.ptx:10 block [0 0 0] thread [64 0 0]: read of 4 bytes",
		"cuMemAlloc #2+256 (256 bytes",
		"ptxsim: 1 error, 0 refused kernels, 1 launch of 1 kernel",
	} {
		if code != 99 || !strings.Contains(errs, want) {
			t.Errorf("exit %d, no %q in %s%s", code, want, out, errs)
		}
	}
	if code, out, _ := executed(t, "--error-exitcode", "7", "--arch", "sm_80", "--no-checks", driver, "more"); code != 7 {
		t.Errorf("exit %d\n%s", code, out)
	}
	code, out, errs = executed(t, "--json", driver, "more")
	var s summary
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 99 || s.Clean || s.Exit != 3 || len(s.Findings) != 1 ||
		s.Findings[0].Kind != sim.OutOfBounds || s.Findings[0].Count != 1 || s.Kernels[0].Kernel != "axpy" {
		t.Errorf("exit %d, %v\n%s%s", code, err, out, errs)
	}
	dir := filepath.Join(t.TempDir(), "ptx")
	if code, _, errs := executed(t, "--ptx", dir, driver); code != 0 {
		t.Errorf("exit %d\n%s", code, errs)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "driver.1.ptx")); err != nil || !strings.Contains(string(b), ".entry axpy") {
		t.Errorf("%v: %s", err, b)
	}
}

// What programs do wrong, and what the libraries do not have, is an error with a line that
// says what; the program goes on.
func TestExecCalls(t *testing.T) {
	calls := filepath.Join(built(t), "calls")
	code, out, errs := executed(t, calls)
	if code != 99 || !strings.HasSuffix(out, "all as expected\n") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	for _, want := range []string{
		"ptxsim: cudaGraphCreate is not supported: the call fails with",
		"ptxsim: cuTexRefCreate is not supported",
		"ptxsim: cudaMemcpy: the destination 0x7",
		"ptxsim: cudaMemcpy: 65 bytes at offset 0 of cudaMalloc #2, which has 64",
		"ptxsim: cuModuleLoadData: no PTX for a device of sm_90a, only an empty list",
		"ptxsim: cuLaunchKernel: kernel refused: calls.2.ptx:6:28 in odd: ",
		"ptxsim: refused (2 times): odd: calls.2.ptx:6:28 in odd: ",
		"ptxsim: cudaMemcpy: the program's own memory at 0x10 cannot be used",
		"ptxsim: cudaMemcpy: the program's own memory at 0x123450 cannot be used",
		"ptxsim: 1 error, 1 refused kernel, 5 launches of 1 kernel",
		"ptxsim: not supported: cudaGraphCreate, cuTexRefCreate\n",
	} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in\n%s", want, errs)
		}
	}
	if strings.Count(errs, "cudaGraphCreate is not supported") != 1 {
		t.Errorf("said more than once:\n%s", errs)
	}
	if code, _, errs := executed(t, calls, "5"); code != 5 || !strings.Contains(errs, "no kernel was launched") {
		t.Errorf("exit %d\n%s", code, errs)
	}
	if code, _, errs := executed(t, calls, "segfault"); code != 128+11 || !strings.Contains(errs, "ended by a signal: segmentation fault; host code") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

func TestExecUsage(t *testing.T) {
	for _, c := range []struct {
		want string
		args []string
	}{
		{"exec takes a program", nil},
		{"flag provided but not defined: -bogus", []string{"--bogus", "true"}},
		{"mode \"late\"", []string{"--mode", "late", "true"}},
		{"arch \"sm_x\"", []string{"--arch", "sm_x", "true"}},
		{"--sms, --memory", []string{"--sms", "0", "true"}},
		{"no libptxsim.so in ", []string{"true"}},
		{"no libptxsim.so in /nowhere;", []string{"--libraries", "/nowhere", "true"}},
	} {
		code, out, errs := ptxsim(t, append([]string{"exec"}, c.args...)...)
		if code != exitUsage || out != "" || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%v: exit %d, %s; want %q", c.args, code, errs, c.want)
		}
	}
	if code, out, errs := executed(t, "no-such-program"); code != exitUsage || !strings.Contains(errs, "no-such-program") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
	// What is no CUDA program keeps its arguments, and its exit code.
	if code, out, _ := executed(t, "sh", "-c", "echo $0 $1; exit 6", "--mode", "-x"); code != 6 || out != "--mode -x\n" {
		t.Errorf("exit %d, %q", code, out)
	}
}

// Reports of one place are counted together, those of others are not.
func TestSummarise(t *testing.T) {
	report := func(line, other int) *sim.Report {
		return &sim.Report{Kind: sim.Race, Kernel: "k", Line: line, Other: &sim.Access{Line: other}}
	}
	s := summarise([]execlog.Record{
		{Kernel: "k", Seconds: 1, Report: report(3, 4)},
		{Kernel: "k", Seconds: 1, Report: report(3, 4)},
		{Kernel: "k", Report: report(3, 5)},
		{Kernel: "long", Seconds: 9, Warnings: []*sim.Report{report(1, 1)}},
		{Kernel: "odd", Refused: "why"},
		{Call: "cudaNothing"},
	})
	if s.Clean || s.Launches != 5 || len(s.Findings) != 2 || s.Findings[0].Count != 2 || len(s.Warnings) != 1 || s.Kernels[0].Kernel != "long" || s.Kernels[1].Launches != 3 ||
		len(s.Refused) != 1 || len(s.Unsupported) != 1 {
		t.Errorf("%+v", s)
	}
}

// The structs of the runtime are as its headers have them, in CUDA 12 and 13. The programs are
// linked with NVIDIA's own libraries, and get ours when they run.
func TestExecHeaders(t *testing.T) {
	const compilers = "../../.cuda/nvidia/cu13/include"
	for version, c := range map[string]struct{ include, lib string }{
		"12": {"../../.cuda12/nvidia/cuda_runtime/include", "../../.cuda12/nvidia/cuda_runtime/lib/libcudart.so.12"},
		"13": {compilers, "../../.cuda/nvidia/cu13/lib/libcudart.so.13"},
	} {
		t.Run(version, func(t *testing.T) {
			for _, needed := range []string{c.lib, compilers + "/crt"} { // CUDA 12's runtime comes without crt
				if _, err := os.Stat(needed); err != nil {
					t.Skipf("LEFT OUT: no %s (make headers ptx installs it)", needed)
				}
			}
			built(t)
			program := filepath.Join(t.TempDir(), "properties")
			if out, err := exec.Command("gcc", "-I"+c.include, "-I"+compilers, "testdata/exec/properties.c", c.lib, "-o", program).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			code, out, errs := executed(t, program)
			if code != 0 || out != "Simulated sm_90a, "+version+"\n" || errs != "ptxsim: no kernel was launched on the simulated device\n" {
				t.Errorf("exit %d\n%s%s", code, out, errs)
			}
		})
	}
}

// nvcc is the compiler that tools/ptx installs.
func nvcc(t *testing.T) (compiler, lib string) {
	t.Helper()
	root, err := filepath.Abs("../../.cuda/nvidia/cu13")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "bin/nvcc")); err != nil {
		t.Skip("LEFT OUT: no nvcc in .cuda (make ptx installs it)")
	}
	return filepath.Join(root, "bin/nvcc"), filepath.Join(root, "lib")
}

// A grid that synchronises.
func TestExecGrid(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-exec runs it: nvcc takes seconds")
	}
	compiler, lib := nvcc(t)
	program := filepath.Join(t.TempDir(), "grid")
	libs := filepath.Join(built(t), "ptxsim-cuda")
	if out, err := exec.Command(compiler, "-arch=compute_90", "-cudart", "shared", "examples/grid.cu", "-o", program, "-L"+libs, "-L"+lib).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	code, out, errs := executed(t, program)
	right := code == 0 && out == "cudaSuccess, 0 wrong\ncudaSuccess, 0 wrong\n" && strings.Contains(errs, "clean under every check: 2 launches of 1 kernel") &&
		strings.Contains(errs, "100000 blocks of a cooperative launch, 4224 fit the device at once")
	if !right {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

// The examples in CUDA C++, compiled by nvcc and run unchanged.
func TestExecExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("make test-exec runs it: nvcc takes seconds for each")
	}
	compiler, lib := nvcc(t)
	libs := filepath.Join(built(t), "ptxsim-cuda")
	ampere := []string{"-arch=compute_80", "-cudart", "shared"}
	hopper := []string{"-arch=compute_90", "-cudart", "shared", "--compress-mode=speed"}
	for _, c := range []struct {
		name  string
		flags []string
		code  int
		want  []string // of standard output and error
	}{
		{"reduce", ampere, 0, []string{"sum 89922, want 89922, 16 blocks", "ptxsim: clean under every check: 1 launch of 1 kernel"}},
		{"host", ampere, 0, []string{"block 0 of 2 sees 1.50\n", "3 callbacks, counter 2, 0 wrong\n", "clean under every check: 3 launches of 2 kernels"}},
		{"race", ampere, 99, []string{"cudaErrorLaunchFailure\n", "ptxsim: error (2 times): sum: race at race.1.ptx:", "race.cu:10) block", "ptxsim: 1 error, 0 refused kernels, 2 launches of 1 kernel"}},
		{"math", ampere, 0, []string{"82 functions, 0 wrong\n", "clean under every check: 82 launches of 82 kernels"}},
		{"reduce", []string{"-gencode", "arch=compute_90,code=sm_90", "-cudart", "shared"}, 1, []string{
			"reduce.cu:47: cudaErrorNoKernelImageForDevice: no kernel image", "no PTX for a device of sm_90a, only machine code for sm_90; compile with",
		}},
		{"reduce", []string{"-cudart", "static"}, 2, []string{"has the CUDA runtime linked into it, which needs NVIDIA's own driver; build it with nvcc -cudart shared"}},
		{"groups", hopper, 0, []string{"neighbour: cudaErrorInvalidValue\n", "neighbour: cudaSuccess, 0 wrong\n", "twice: cudaSuccess, 0 wrong\n", "clean under every check: 2 launches of 2 kernels"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), c.name)
			flags := append(append([]string{}, c.flags...), "-lineinfo", "examples/"+c.name+".cu", "-o", program, "-L"+libs, "-L"+lib)
			if out, err := exec.Command(compiler, flags...).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			code, out, errs := executed(t, program)
			for _, want := range c.want {
				if code != c.code || !strings.Contains(out+errs, want) {
					t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
				}
			}
		})
	}
}
