package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/stylize-gpu/stylize/cmd/internal/manual"
)

// kinds are the words of usages and arguments that stand for files.
var kinds = manual.Table{
	Files: map[string][]string{
		"CONTENT": pictures, "STYLE": pictures, "PICTURE": pictures,
		"OUT.png": {"png"}, "CHECKPOINT": nil, "TRACE": {"csv"},
		"WEIGHTS": {"pth", "safetensors", "zst"}, "IN": {"pth", "safetensors", "zst"}, "FILE": nil, "OUT": nil,
	},
	Folders: []string{"FOLDER"},
}

// pictures are the usual extensions of what is read, which its first bytes decide.
var pictures = []string{"png", "jpg", "jpeg", "webp", "avif", "heic", "heif", "tif", "tiff", "bmp", "gif", "PNG", "JPG", "JPEG", "HEIC", "TIF"}

// facts are what the man page says beside the flags.
var facts = []manual.Section{
	{Title: "Examples", Lines: []string{
		"stylize photo.jpg painting.jpg -o out.png\tPaint.",
		"stylize photo.jpg painting.jpg -o out.png --strength 0.3 --size 1024\tLess of the style, in finer strokes.",
		"stylize photo.jpg waves.jpg stars.jpg --mask stars.jpg=sky.png --feather 20 -o out.png\tTwo styles, one of them in the sky.",
		"stylize sheet photo.jpg painting.jpg --vary strength=0.3,1,3 --vary seed=1..4 --init noise -o sheet.png\tCompare settings.",
		"stylize plan photo.jpg painting.jpg -o out.png --size 2048\tWhat that would take.",
		"curl -s ADDRESS | stylize - painting.jpg -o - | display\tFrom one program to the next.",
		"stylize photo.jpg painting.jpg -o out.png --checkpoint run.ckpt; stylize resume run.ckpt\tGo on after a stop.",
	}},
	{Title: "Exit status", Lines: []string{
		"0\tDone.",
		"1\tFailed while running.",
		"2\tBad usage or bad input, found before any work.",
		"130\tInterrupted; the picture so far is saved.",
	}},
	{Title: "Environment", Lines: []string{
		"STYLIZE_CACHE\tThe folder of the fetched weights.",
		"STYLIZE_CPU\tForces an instruction set: avx512, avx2 or base.",
	}},
}

func init() { cli.HelpPrinter = manual.Help }

// completion prints a script for a shell.
func completion(args []string, stdout io.Writer) error {
	if len(args) != 1 {
		return usage(fmt.Errorf("say for which shell: stylize completion %s", strings.Join(manual.Shells, ", or ")))
	}
	script, err := manual.Script(args[0], "stylize")
	if err != nil {
		return usage(err)
	}
	_, err = io.WriteString(stdout, script)
	return err
}

// complete answers such a script.
func complete(args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return usage(errors.New("this is for the scripts of stylize completion"))
	}
	return kinds.Complete(stdout, newApp(nil, nil), args[0], args[1:])
}
