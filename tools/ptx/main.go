// Command ptx compiles the project's CUDA sources to the PTX that is committed
// and shipped, writes the arguments of their entries as Go, and proves that they
// belong together.
//
//	go run ./tools/ptx           compile everything; write PTX, kernels/args_gen.go and MANIFESTs
//	go run ./tools/ptx -check    compile into memory and compare with what is committed;
//	                             without a compiler, compare hashes with the MANIFESTs
//
// The compiler is NVIDIA's, from six pinned wheels that pip puts into .cuda
// (108 MB, no root, no driver); -fetch installs them when they are missing.
// Contraction is off: a fused multiply-add is written fmaf, so that PTX carries
// .rn operations and every device rounds alike. The .version line is lowered to
// the oldest that ptxas takes for the target, so that older drivers load it.
// A kernel that spills registers is an error, and one whose wgmmas ptxas has to
// serialise or to fence by itself. The MANIFEST counts the instructions that a
// kernel is about, in the machine code that ptxas makes of it.
//
// The Go is made of what the preprocessor leaves of a source (scan.go): names and
// types of parameters, structs that tables hold, constants. Values, sizes and offsets
// are the compiler's (read.go), threads and clusters those of the PTX, which has to
// agree in every parameter (generate.go).
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// wheels are pinned: newer ones emit PTX that an r580 driver refuses.
var wheels = []string{
	"nvidia-cuda-nvcc==13.0.88", "nvidia-nvvm==13.0.88", "nvidia-cuda-crt==13.0.88",
	"nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cccl==13.0.85", "nvidia-cuda-nvdisasm==13.2.51",
}

// folders hold sources; their PTX goes to the folder named, and their signatures to
// a file of Go.
var folders = []folder{
	{"kernels", "kernels/ptx", "kernels/args_gen.go"},
	{"gpu/sim/testdata", "gpu/sim/testdata", ""},
}

type folder struct{ src, dst, args string }

// target is one architecture that a source is compiled for, named in its line
// "// ptx: sm_80 sm_90a".
type target struct{ arch, compute, version string }

// name is the architecture in names of files: "sm90a".
func (t target) name() string { return strings.ReplaceAll(t.arch, "_", "") }

var targets = map[string]target{
	"sm_80":  {"sm_80", "compute_80", "7.0"},
	"sm_90":  {"sm_90", "compute_90", "8.0"},
	"sm_90a": {"sm_90a", "compute_90a", "8.0"},
}

func main() {
	log.SetFlags(0)
	check := flag.Bool("check", false, "compare with what is committed instead of writing")
	fetch := flag.Bool("fetch", false, "install the compiler into .cuda when it is missing (needs pip and its index)")
	flag.Parse()
	if err := run(*check, *fetch); err != nil {
		log.Fatal("ptx: ", err)
	}
}

func run(check, fetch bool) error {
	if err := enterRoot(); err != nil {
		return err
	}
	bin, err := compiler(fetch)
	if err != nil && !check {
		return err
	}
	if err != nil {
		log.Printf("no compiler (%v): comparing hashes only", err)
	}
	for _, f := range folders {
		sources, err := filepath.Glob(filepath.Join(f.src, "*.cu"))
		if err != nil {
			return err
		}
		if len(sources) == 0 {
			continue
		}
		if bin == "" {
			err = compareHashes(f)
		} else {
			err = build(bin, sources, f, check)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enterRoot goes to the folder of go.mod, which all paths start from: go generate
// runs in a package's.
func enterRoot() error {
	for {
		if _, err := os.Stat("go.mod"); err == nil {
			return nil
		}
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		if dir == filepath.Dir(dir) {
			return errors.New("no go.mod here or above")
		}
		if err := os.Chdir(".."); err != nil {
			return err
		}
	}
}

// compiler returns the folder of nvcc and ptxas.
func compiler(fetch bool) (string, error) {
	bin, err := filepath.Abs(".cuda/nvidia/cu13/bin")
	if err != nil {
		return "", err
	}
	_, errCompiler := os.Stat(filepath.Join(bin, "nvcc"))
	_, errDisassembler := os.Stat(filepath.Join(bin, "nvdisasm"))
	if errCompiler == nil && errDisassembler == nil {
		return bin, nil
	} else if !fetch {
		return "", errors.New("no nvcc and nvdisasm in .cuda: run make ptx, which installs them")
	}
	args := append([]string{
		"-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:",
		"--disable-pip-version-check", "--upgrade", "--target", ".cuda",
	}, wheels...)
	if out, err := exec.Command("python3", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("install the compiler: %w\n%s", err, out)
	}
	return bin, nil
}

// entry is one line of a MANIFEST.
type entry struct{ name, text string }

// build compiles every source of a folder.
func build(bin string, sources []string, f folder, check bool) error {
	var lines []entry
	wanted := map[string][]byte{} // by path
	args := &api{byEntry: map[string]*family{}}
	var all []byte
	for _, src := range sources {
		text, err := os.ReadFile(src)
		if err != nil {
			return err
		}
		all = append(all, text...)
		archs, err := archsOf(src, text)
		if err != nil {
			return err
		}
		for _, each := range eachOf(text) {
			module := strings.TrimSuffix(filepath.Base(src), ".cu")
			if each != "" {
				module += "_" + each
			}
			if f.args != "" {
				if err := read(bin, src, each, module, archs[0], args); err != nil {
					return fmt.Errorf("%s: %w", src, err)
				}
			}
			for _, a := range archs {
				name := module + "." + a.name() + ".ptx"
				ptx, figures, err := compile(bin, src, each, a)
				if err != nil {
					return err
				}
				wanted[filepath.Join(f.dst, name)] = ptx
				lines = append(lines, entry{name, fmt.Sprintf("%s  %s  from %s", name, sum(ptx), sum(sourceBytes(src, text)))})
				for _, f := range figures {
					lines = append(lines, entry{name + f, "  " + f})
				}
				if f.args != "" {
					if err := args.compiled(a.name(), ptx); err != nil {
						return fmt.Errorf("%s: %w", name, err)
					}
				}
			}
		}
	}
	if f.args != "" {
		src, err := args.source()
		if err != nil {
			return err
		}
		wanted[f.args] = src
		name := filepath.Base(f.args)
		lines = append(lines, entry{name, fmt.Sprintf("%s  %s  from %s", name, sum(src), sum(sourceBytes(sources[0], all)))})
	}
	var m bytes.Buffer
	m.WriteString("# Written by make ptx: file, its sha256, sha256 of its source and headers; then ptxas' figures.\n")
	for _, l := range lines {
		fmt.Fprintln(&m, l.text)
	}
	wanted[filepath.Join(f.dst, "MANIFEST")] = m.Bytes()
	if check {
		return compare(wanted)
	}
	if err := os.MkdirAll(f.dst, 0o755); err != nil {
		return err
	}
	for name, b := range wanted {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return err
		}
	}
	log.Printf("%s: %d files", f.dst, len(wanted))
	return nil
}

var archLine = regexp.MustCompile(`(?m)^// ptx:(.*)$`)

var eachLine = regexp.MustCompile(`(?m)^// each:(.*)$`)

// eachOf is the values of EACH that a source is compiled with, a PTX for each,
// from its line "// each: f16 bf16"; one empty value without.
func eachOf(text []byte) []string {
	if m := eachLine.FindSubmatch(text); m != nil {
		return strings.Fields(string(m[1]))
	}
	return []string{""}
}

func archsOf(src string, text []byte) ([]target, error) {
	m := archLine.FindSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf(`%s: no line "// ptx: sm_80 …" says what to compile for`, src)
	}
	var ts []target
	for _, f := range strings.Fields(string(m[1])) {
		t, ok := targets[f]
		if !ok {
			return nil, fmt.Errorf("%s: unknown target %s", src, f)
		}
		ts = append(ts, t)
	}
	return ts, nil
}

// sourceBytes is a source with all headers beside it, for its hash.
func sourceBytes(src string, text []byte) []byte {
	all := append([]byte{}, text...)
	headers, _ := filepath.Glob(filepath.Join(filepath.Dir(src), "*.cuh"))
	sort.Strings(headers)
	for _, h := range headers {
		if b, err := os.ReadFile(h); err == nil {
			all = append(all, b...)
		}
	}
	return all
}

func sum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b))[:32] }

// compile makes PTX, and asks ptxas whether it is good.
func compile(bin, src, each string, t target) (ptx []byte, figures []string, err error) {
	tmp, err := os.MkdirTemp("", "ptx")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	out := filepath.Join(tmp, "k.ptx")
	cmd := exec.Command(filepath.Join(bin, "nvcc"), "-ptx", "-arch="+t.compute, "-O3", "-std=c++17",
		"-fmad=false", "-ftz=false", "-prec-div=true", "-prec-sqrt=true", "-Werror", "all-warnings", "-DEACH="+each, "-o", out, src)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("nvcc %s: %w\n%s", src, err, msg)
	}
	if ptx, err = os.ReadFile(out); err != nil {
		return nil, nil, err
	}
	ptx = versionLine.ReplaceAll(ptx, []byte(".version "+t.version))
	if err := os.WriteFile(out, ptx, 0o644); err != nil {
		return nil, nil, err
	}
	cubin := filepath.Join(tmp, "k.cubin")
	cmd = exec.Command(filepath.Join(bin, "ptxas"), "-v", "-arch="+t.arch, "-o", cubin, out)
	msg, err := cmd.CombinedOutput()
	if err != nil {
		return nil, nil, fmt.Errorf("ptxas %s for %s: %w\n%s", src, t.arch, err, msg)
	}
	sass, err := exec.Command(filepath.Join(bin, "nvdisasm"), "-c", cubin).Output()
	if err != nil {
		return nil, nil, fmt.Errorf("nvdisasm %s for %s: %w", src, t.arch, err)
	}
	figures, err = ptxasFigures(msg, instructions(sass))
	if err != nil {
		return nil, nil, fmt.Errorf("%s for %s: %w", src, t.arch, err)
	}
	return ptx, figures, nil
}

// counted are the instructions whose number a MANIFEST gives: products on the
// tensor cores, asynchronous copies, and access to matrices in shared memory.
var counted = []string{"HMMA", "HGMMA", "LDGSTS", "UTMALDG", "LDSM", "STSM"}

var (
	function    = regexp.MustCompile(`^\.text\.(\S+):`)
	instruction = regexp.MustCompile(`^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9]+)`)
)

// instructions counts opcodes of each kernel in a disassembly.
func instructions(sass []byte) map[string]map[string]int {
	counts := map[string]map[string]int{}
	var kernel map[string]int
	for _, l := range strings.Split(string(sass), "\n") {
		if m := function.FindStringSubmatch(l); m != nil {
			kernel = map[string]int{}
			counts[m[1]] = kernel
		} else if m := instruction.FindStringSubmatch(l); m != nil && kernel != nil {
			kernel[m[1]]++
		}
	}
	return counts
}

var (
	versionLine = regexp.MustCompile(`(?m)^\.version .*$`)
	compiling   = regexp.MustCompile(`Compiling entry function '(\S+)'`)
	spilled     = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	used        = regexp.MustCompile(`Used (\d+) registers.*`)
	smem        = regexp.MustCompile(`(\d+) bytes smem`)
)

// ptxasFigures reads registers and shared memory of each kernel from ptxas -v,
// and adds its instructions; spills and wgmmas that wait are an error.
func ptxasFigures(msg []byte, sass map[string]map[string]int) ([]string, error) {
	var lines []string
	kernel := ""
	for _, l := range strings.Split(string(msg), "\n") {
		if m := compiling.FindStringSubmatch(l); m != nil {
			kernel = m[1]
		}
		if m := spilled.FindStringSubmatch(l); m != nil && (m[2] != "0" || m[3] != "0") {
			return nil, fmt.Errorf("%s spills registers: %s", kernel, strings.TrimSpace(l))
		}
		if strings.Contains(l, "wgmma") && strings.Contains(l, "serialized") || strings.Contains(l, "warpgroup.arrive is injected") {
			return nil, errors.New(strings.TrimSpace(l))
		}
		if m := used.FindStringSubmatch(l); m != nil {
			shared := "0"
			if s := smem.FindStringSubmatch(l); s != nil {
				shared = s[1]
			}
			line := fmt.Sprintf("%s registers %s shared %s", kernel, m[1], shared)
			for _, op := range counted {
				if n := sass[kernel][op]; n > 0 {
					line += fmt.Sprintf(" %s %d", op, n)
				}
			}
			if n := sass[kernel]["LDL"] + sass[kernel]["STL"]; n > 0 {
				return nil, fmt.Errorf("%s has %d accesses to local memory", kernel, n)
			}
			lines = append(lines, line)
		}
	}
	sort.Strings(lines)
	return lines, nil
}

// compare holds what was built against what is committed.
func compare(wanted map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		got, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("%w: run make ptx and commit the result", err)
		}
		if !bytes.Equal(got, wanted[name]) {
			return fmt.Errorf("%s is not what its source makes it: run make ptx and commit the result", name)
		}
	}
	return nil
}

// compareHashes is compare where nothing can be compiled: the committed PTX and
// the sources must be those that the MANIFEST was written for.
func compareHashes(folder folder) error {
	src, dst := folder.src, folder.dst
	m, err := os.ReadFile(filepath.Join(dst, "MANIFEST"))
	if err != nil {
		return err
	}
	for _, l := range strings.Split(string(m), "\n") {
		f := strings.Fields(l)
		if len(f) != 4 || f[2] != "from" {
			continue
		}
		if f[0] == filepath.Base(folder.args) {
			if err := hashArgs(folder, f[1], f[3]); err != nil {
				return err
			}
			continue
		}
		ptx, err := os.ReadFile(filepath.Join(dst, f[0]))
		if err != nil {
			return err
		}
		base, _, _ := strings.Cut(f[0], ".")
		cu := filepath.Join(src, base+".cu")
		if _, err := os.Stat(cu); err != nil { // one of several of a source
			cu = filepath.Join(src, base[:max(0, strings.LastIndex(base, "_"))]+".cu")
		}
		text, err := os.ReadFile(cu)
		if err != nil {
			return err
		}
		if sum(ptx) != f[1] || sum(sourceBytes(cu, text)) != f[3] {
			return fmt.Errorf("%s and %s do not belong together by %s/MANIFEST: run make ptx where the compiler can be installed", cu, f[0], dst)
		}
	}
	return nil
}

// hashArgs is compareHashes for the file of Go, which all sources make.
func hashArgs(folder folder, args, from string) error {
	sources, err := filepath.Glob(filepath.Join(folder.src, "*.cu"))
	if err != nil {
		return err
	}
	var all []byte
	for _, src := range sources {
		text, err := os.ReadFile(src)
		if err != nil {
			return err
		}
		all = append(all, text...)
	}
	text, err := os.ReadFile(folder.args)
	if err != nil {
		return err
	}
	if sum(text) != args || sum(sourceBytes(sources[0], all)) != from {
		return fmt.Errorf("%s and the sources do not belong together by %s/MANIFEST: run make ptx where the compiler can be installed", folder.args, folder.dst)
	}
	return nil
}
