// Command ptx compiles the project's CUDA sources to the PTX that is committed
// and shipped, writes the arguments of their entries as Go, and proves that they
// belong together.
//
//	go run ./tools/ptx           compile everything; write PTX, kernels/args_gen.go and MANIFESTs
//	go run ./tools/ptx -check    compile into memory and compare with what is committed;
//	                             without a compiler, compare hashes with the MANIFESTs
//	go run ./tools/ptx -matrix   ask the compilers of older drivers about what is committed,
//	                             and write what they say into the MANIFEST (matrix.go)
//	go run ./tools/ptx -times    print how long those compilers take for each file, and in all;
//	                             words behind it choose files (times.go)
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
	"strconv"
	"strings"
)

// wheels are pinned: newer ones emit PTX that an r580 driver refuses.
var wheels = []string{
	"nvidia-cuda-nvcc==13.0.88", "nvidia-nvvm==13.0.88", "nvidia-cuda-crt==13.0.88",
	"nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cccl==13.0.85", "nvidia-cuda-nvdisasm==13.2.51",
}

// folders hold sources; their PTX goes to the folder named, and their signatures to
// a file of Go.
var folders = []folder{shipped, {"gpu/sim/testdata", "gpu/sim/testdata", ""}}

// shipped is what drivers of all ages get to see.
var shipped = folder{"kernels", "kernels/ptx", "kernels/args_gen.go"}

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
	fetch := flag.Bool("fetch", false, "install the compiler into .cuda when it is missing, with -matrix and -times those of older drivers into .ptxas (needs pip and its index)")
	matrix := flag.Bool("matrix", false, "ask the compilers of older drivers about what is committed")
	timed := flag.Bool("times", false, "print how long the compilers of older drivers take for what is committed, or for the files that have one of the words given in their name")
	flag.Parse()
	err := enterRoot()
	switch {
	case err != nil:
	case *timed:
		err = runTimes(os.Stdout, *fetch, flag.Args())
	case *matrix:
		err = runMatrix(*fetch)
	default:
		err = run(*check, *fetch)
	}
	if err != nil {
		log.Fatal("ptx: ", err)
	}
}

func run(check, fetch bool) error {
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
	return bin, install(".cuda", wheels...)
}

// install has pip put wheels into a folder.
func install(folder string, wheels ...string) error {
	args := append([]string{
		"-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:",
		"--disable-pip-version-check", "--upgrade", "--target", folder,
	}, wheels...)
	if out, err := exec.Command("python3", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("install the compiler: %w\n%s", err, out)
	}
	return nil
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
		source, err := os.ReadFile(src)
		if err != nil {
			return err
		}
		all = append(all, source...)
		archs, err := archsOf(src, source)
		if err != nil {
			return err
		}
		perEntry := modulesLine.Match(source)
		for _, each := range eachOf(source) {
			module := strings.TrimSuffix(filepath.Base(src), ".cu")
			if each != "" {
				module += "_" + each
			}
			if f.args != "" {
				of := module
				if perEntry {
					of = "" // each is its own
				}
				if err := read(bin, src, each, of, archs[0], args); err != nil {
					return fmt.Errorf("%s: %w", src, err)
				}
			}
			for _, a := range archs {
				text, err := compile(bin, src, each, a)
				if err != nil {
					return err
				}
				for _, m := range modulesOf(module, text, perEntry) {
					figures, err := assemble(bin, m.name, m.text, a, args.planned)
					if err != nil {
						return err
					}
					name := m.name + "." + a.name() + ".ptx"
					wanted[filepath.Join(f.dst, name)] = m.text
					lines = append(lines, entry{name, fmt.Sprintf("%s  %s  from %s", name, sum(m.text), sum(sourceBytes(src, source)))})
					for _, f := range figures {
						lines = append(lines, entry{name + f, "  " + f})
					}
					if f.args != "" {
						if err := args.compiled(a.name(), m.text); err != nil {
							return fmt.Errorf("%s: %w", name, err)
						}
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
	manifest := filepath.Join(f.dst, "MANIFEST")
	m.WriteString(keptRows(manifest, wanted)) // of older compilers, about files that are still the same
	wanted[manifest] = m.Bytes()
	if check {
		return errors.Join(compare(wanted), checkMatrix(f))
	}
	if err := os.MkdirAll(f.dst, 0o755); err != nil {
		return err
	}
	stale, err := filepath.Glob(filepath.Join(f.dst, "*.ptx"))
	if err != nil {
		return err
	}
	for _, name := range stale {
		if wanted[name] == nil {
			if err := os.Remove(name); err != nil {
				return err
			}
		}
	}
	for name, b := range wanted {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return err
		}
	}
	log.Printf("%s: %d files", f.dst, len(wanted))
	if err := checkMatrix(f); err != nil {
		log.Print("still to do: ", err)
	}
	return nil
}

var archLine = regexp.MustCompile(`(?m)^// ptx:(.*)$`)

var eachLine = regexp.MustCompile(`(?m)^// each:(.*)$`)

// modulesLine says that each entry of a source is to have PTX of its own.
var modulesLine = regexp.MustCompile(`(?m)^// modules: one an entry`)

// module is one PTX file.
type module struct {
	name string
	text []byte
}

var entryLine = regexp.MustCompile(`(?m)^\.visible \.entry (\w+)\(`)

// modulesOf is the PTX of a compilation as it is shipped: whole, or a module for each
// of its entries, which has what stands before the first of them and is named after it.
func modulesOf(name string, text []byte, perEntry bool) []module {
	if !perEntry {
		return []module{{name, text}}
	}
	var all []module
	at := entryLine.FindAllSubmatchIndex(text, -1)
	for i, m := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		body := strings.TrimRight(globlLine.ReplaceAllString(string(text[m[0]:end]), ""), "\n") + "\n"
		head := globlLine.ReplaceAllString(string(text[:at[0][0]]), "")
		all = append(all, module{string(text[m[2]:m[3]]), []byte(head + body)})
	}
	return all
}

// globlLine is a comment of nvcc about entries, others than a module's own among them.
var globlLine = regexp.MustCompile(`(?m)^(\t// \.globl\t.*|// \S+ has been demoted)\n`)

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

// compile makes PTX.
func compile(bin, src, each string, t target) (ptx []byte, err error) {
	tmp, err := os.MkdirTemp("", "ptx")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	out := filepath.Join(tmp, "k.ptx")
	if _, err := nvcc(bin, "-ptx", "-arch="+t.compute, "-O3", "-fmad=false", "-ftz=false", "-prec-div=true", "-prec-sqrt=true",
		"-Werror", "all-warnings", "-DEACH="+each, "-o", out, src); err != nil {
		return nil, fmt.Errorf("%s for %s: %w", src, t.arch, err)
	}
	if ptx, err = os.ReadFile(out); err != nil {
		return nil, err
	}
	return versionLine.ReplaceAll(ptx, []byte(".version "+t.version)), nil
}

// assemble asks ptxas whether PTX is good, and says what it makes of it. planned is the
// registers that an entry must have, or 0.
func assemble(bin, name string, ptx []byte, t target, planned func(entry string) int) (figures []string, err error) {
	tmp, err := os.MkdirTemp("", "ptx")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	in, cubin := filepath.Join(tmp, "k.ptx"), filepath.Join(tmp, "k.cubin")
	if err := os.WriteFile(in, ptx, 0o644); err != nil {
		return nil, err
	}
	msg, err := exec.Command(filepath.Join(bin, "ptxas"), "-v", "-arch="+t.arch, "-o", cubin, in).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("ptxas %s for %s: %w\n%s", name, t.arch, err, msg)
	}
	sass, err := exec.Command(filepath.Join(bin, "nvdisasm"), "-c", cubin).Output()
	if err != nil {
		return nil, fmt.Errorf("nvdisasm %s for %s: %w", name, t.arch, err)
	}
	used, err := ptxasFigures(msg)
	if err != nil {
		return nil, fmt.Errorf("%s for %s: %w", name, t.arch, err)
	}
	counts := instructions(sass)
	for _, u := range used {
		if u.spills != 0 {
			return nil, fmt.Errorf("%s for %s: %s spills %d bytes of registers", name, t.arch, u.kernel, u.spills)
		}
		if n := planned(u.kernel); n > 0 && u.registers != n {
			return nil, fmt.Errorf("%s for %s: %s has %d registers, and must have %d: setmaxnreg would wait for ever", name, t.arch, u.kernel, u.registers, n)
		}
		if n := counts[u.kernel]["LDL"] + counts[u.kernel]["STL"]; n > 0 {
			return nil, fmt.Errorf("%s for %s: %s has %d accesses to local memory", name, t.arch, u.kernel, n)
		}
		line := fmt.Sprintf("%s registers %d shared %d", u.kernel, u.registers, u.shared)
		for _, op := range counted {
			if n := counts[u.kernel][op]; n > 0 {
				line += fmt.Sprintf(" %s %d", op, n)
			}
		}
		figures = append(figures, line)
	}
	return figures, nil
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
	spilled     = regexp.MustCompile(`\d+ bytes stack frame, (\d+) bytes spill stores`)
	used        = regexp.MustCompile(`Used (\d+) registers.*`)
	smem        = regexp.MustCompile(`(\d+) bytes smem`)
)

// usage is what ptxas -v says of a kernel.
type usage struct {
	kernel                    string
	registers, shared, spills int // spills: bytes stored
}

// ptxasFigures reads what ptxas -v says of each kernel, by name; wgmmas that wait are
// an error.
func ptxasFigures(msg []byte) ([]usage, error) {
	var all []usage
	var u usage
	for _, l := range strings.Split(string(msg), "\n") {
		if m := compiling.FindStringSubmatch(l); m != nil {
			u = usage{kernel: m[1]}
		}
		if strings.Contains(l, "wgmma") && strings.Contains(l, "serialized") || strings.Contains(l, "warpgroup.arrive is injected") {
			return nil, errors.New(strings.TrimSpace(l))
		}
		if m := spilled.FindStringSubmatch(l); m != nil {
			u.spills = number(m[1])
		}
		if m := used.FindStringSubmatch(l); m != nil {
			u.registers = number(m[1])
			if s := smem.FindStringSubmatch(l); s != nil {
				u.shared = number(s[1])
			}
			all = append(all, u)
		}
	}
	slices.SortFunc(all, func(a, b usage) int { return strings.Compare(a.kernel, b.kernel) })
	return all, nil
}

func number(digits string) int {
	n, _ := strconv.Atoi(digits) // which a pattern has matched
	return n
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
		cu, text, err := sourceOf(src, base)
		if err != nil {
			return err
		}
		if sum(ptx) != f[1] || sum(sourceBytes(cu, text)) != f[3] {
			return fmt.Errorf("%s and %s do not belong together by %s/MANIFEST: run make ptx where the compiler can be installed", cu, f[0], dst)
		}
	}
	return checkMatrix(folder)
}

// sourceOf finds the source of a module, whose name it begins with.
func sourceOf(src, module string) (cu string, text []byte, err error) {
	for base := module; base != ""; base = base[:max(0, strings.LastIndex(base, "_"))] {
		cu = filepath.Join(src, base+".cu")
		if text, err = os.ReadFile(cu); !errors.Is(err, os.ErrNotExist) {
			return cu, text, err
		}
	}
	return "", nil, fmt.Errorf("%s: no source has a module %s", src, module)
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
