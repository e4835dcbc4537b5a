package main

import (
	"slices"
	"strings"
	"testing"
)

// A flag of another program is answered with ours, where the command has it.
func TestForeignFlags(t *testing.T) {
	samples(t)
	pictures := []string{"content.png", "style.jpg", "-o", "out.png"}
	for _, c := range []struct{ line, want string }{
		{"--gpu 0", "unknown flag --gpu; here it is --device cuda:0, or --device cpu"},
		{"-gpu -1", "unknown flag -gpu; here it is --device cpu"},
		{"--gpu", "--device cuda:VALUE"},
		{"--content_image=a.jpg", "unknown flag --content_image; the content is the first picture"},
		{"-content_image a.jpg", "the content is the first picture"},
		{"--style_image a.jpg", "the style is the second picture"},
		{"--Image_Size 700", "here it is --size 700"},
		{"--num_iterations 100", "here it is --iterations 100"},
		{"--steps -q", "here it is --iterations VALUE"},
		{"--style_blend_weights 2,1", "here it is --blend 2,1"},
		{"--learning_rate 10", "--optimizer adam --lr 10"},
		{"--output_image x.png", "here it is --output x.png"},
		{"--print_iter 50", "--trace FILE"},
	} {
		code, _, stderr := stylize(t.Context(), append(slices.Clone(pictures), strings.Fields(c.line)...)...)
		if code != exitUsage || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, want %q", c.line, code, stderr, c.want)
		}
	}
	for line, want := range map[string]string{
		"rerun x.png --gpu 1":    "--device cuda:1",
		"rerun x.png --steps 3":  "unknown flag --steps; see stylize rerun --help",
		"devices --gpu 1":        "unknown flag --gpu; see stylize devices --help",
		"plan a b --style c":     "the style is the second picture",
		"plot x --content_image": "see stylize plot --help",
	} {
		if code, _, stderr := stylize(t.Context(), strings.Fields(line)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %q, want %q", line, code, stderr, want)
		}
	}
}

// The table speaks of flags that there are, and of no flag twice or in vain.
func TestForeignTable(t *testing.T) {
	ours := map[string]bool{}
	for _, f := range newApp(nil, nil).Flags {
		for _, n := range f.Names() {
			ours["--"+n] = true
		}
	}
	seen := map[string]bool{}
	for _, e := range foreign {
		for _, n := range strings.Fields(e.names) {
			if seen[n] || ours["--"+n] || n != strings.ToLower(n) || strings.Contains(n, "_") {
				t.Errorf("%s: is there twice, is one of ours, or is never found", n)
			}
			seen[n] = true
		}
		for _, n := range named.FindAllString(e.here, -1) {
			if !ours[n] {
				t.Errorf("%s is here %s, which there is not", e.names, n)
			}
		}
	}
}

// A flag is suggested when it is near, and only then; a value is glued to a short flag
// when it can be nothing else.
func TestUnknownFlags(t *testing.T) {
	for flag, want := range map[string]string{
		"--sise":         "did you mean --size?",
		"--style_weight": "did you mean --style-weight?",
		"--iter":         "did you mean --iterations?",
		"--Bits":         "did you mean --bits?",
		"--IR":           "did you mean --lr?",
		"-optimzer":      "did you mean --optimizer?",
		"--check":        "see stylize --help", // of two that begin so
		"--foo":          "see stylize --help",
		"--top":          "see stylize --help",
		"--cow":          "see stylize --help",
		"-z":             "see stylize --help",
		"-v":             "see stylize --help",
		"-n50x":          "see stylize --help",
		"-oout":          "see stylize --help",
		"-qn5":           "see stylize --help",
		"--quiet=maybe":  "--quiet takes no value",
	} {
		code, _, stderr := stylize(t.Context(), "a.png", "b.png", flag)
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %q, want %q", flag, code, stderr, want)
		}
	}
}

// A command that is misspelt, and a result without -o.
func TestMistakenCommands(t *testing.T) {
	samples(t)
	for line, want := range map[string]string{
		"plna content.png style.jpg":             "there is no command plna, nor a file; did you mean plan?",
		"Plan content.png style.jpg":             "did you mean plan?",
		"weihgts fetch":                          "did you mean weights?",
		"paint content.png style.jpg -o x.png":   "there is no command paint",
		"photo":                                  "stylize help lists the commands",
		"content.png style.jpg out.png":          "write -o before the name of the result: -o out.png",
		"content.png style.jpg out.png -o x.png": "out.png: there is no such file",
	} {
		if code, _, stderr := stylize(t.Context(), strings.Fields(line)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, %q, want %q", line, code, stderr, want)
		}
	}
	if code, _, stderr := stylize(t.Context(), "", "style.jpg", "-o", "x.png"); code != exitUsage || !strings.Contains(stderr, "name of a picture is empty") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
