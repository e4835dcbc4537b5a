package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/stylize-gpu/stylize/gpu"
	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/weights"
)

// resolveWeights loads what the user named. The note, if any, must be shown.
func resolveWeights(name string) (w *vgg.Weights, note string, err error) {
	w, fellBack, err := weights.Resolve(name)
	switch {
	case errors.Is(err, weights.ErrCache):
		err = fmt.Errorf("%w; run `stylize weights fetch --force` to replace them", err)
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%w, or random", err)
	case err == nil && w.Converted != "":
		note = fmt.Sprintf("weights %s: %s", w.Source, w.Converted)
	case fellBack:
		note = "no VGG19 weights are cached: painting with random weights (random:0); `stylize weights fetch` gets the trained ones"
	}
	return w, note, err
}

// weightsFetch downloads the trained weights into the cache.
func weightsFetch(ctx context.Context, f fetchFlags, stdout, stderr io.Writer) error {
	path, err := weights.CachePath()
	if err != nil {
		return usage(err)
	}
	if !f.force {
		if _, err := os.Stat(path); err == nil {
			if _, err := weights.Load(path); err == nil {
				_, err := fmt.Fprintf(stdout, "%s is there already (--force fetches it again)\n", path)
				return err
			}
			fmt.Fprintf(stderr, "stylize: %s is damaged, fetching it again\n", path)
		}
	}
	got, err := weights.Fetch(ctx, weights.FetchOptions{
		URL: f.url, SHA256: f.sha256, Path: path, Progress: download(stderr),
		Waiting: func() { fmt.Fprintln(stderr, "stylize: another process fetches them; waiting for it") },
	})
	var option weights.OptionError
	switch {
	case errors.As(err, &option):
		return usage(err)
	case errors.Is(err, weights.ErrNoConnection):
		return fmt.Errorf("%w; behind a proxy set HTTPS_PROXY=http://HOST:PORT, or get the file on another machine and pass it with --weights", err)
	case errors.Is(err, weights.ErrCertificate):
		return fmt.Errorf("%w; where a proxy reads along, set SSL_CERT_FILE to its certificate, or get the file on another machine and pass it with --weights", err)
	case errors.Is(err, weights.ErrRefused):
		return fmt.Errorf("%w; pass another address with --url, or a file with --weights", err)
	case errors.Is(err, weights.ErrWrongHash):
		return fmt.Errorf("%w; if that file is what you want, give what its hash begins with (stylize weights fetch --help)", err)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n", got)
	return err
}

// weightsImport puts the weights of a file where fetch puts them.
func weightsImport(args []string, f convertFlags, stdout io.Writer) error {
	if len(args) != 1 {
		return usage(fmt.Errorf("give one file of weights; got %d names", len(args)))
	}
	load := weights.Load
	if f.caffe {
		load = weights.LoadCaffe
	}
	path, err := weights.CachePath()
	if err != nil {
		return usage(err)
	}
	w, err := load(args[0])
	if err != nil {
		return usage(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return usage(err)
	}
	var files claims
	files.read("which is in its place already", args[0])
	files.write("", "the import", path)
	if err := files.check(); err != nil {
		return usage(err)
	}
	files.sweep()
	if err := weights.Save(path, w); err != nil {
		return err
	}
	origin := "not torchvision's file; used as it is"
	if w.Converted != "" {
		origin = w.Converted
	} else if weights.Official(hashOf(args[0])) {
		origin = "torchvision's own"
	}
	_, err = fmt.Fprintf(stdout, "%s: %s, values sha256 %s\n", path, origin, w.SHA256)
	return err
}

// weightsPath says where the fetched weights are, or would be.
func weightsPath(stdout io.Writer) error {
	path, err := weights.CachePath()
	if err != nil {
		return usage(err)
	}
	_, err = fmt.Fprintln(stdout, path)
	return err
}

// download shows bytes as they arrive: a bar on a terminal, a line for each tenth elsewhere.
func download(stderr io.Writer) func(done, total int64) {
	var bar *progressbar.ProgressBar
	f, isFile := stderr.(*os.File)
	tty := isFile && term.IsTerminal(int(f.Fd()))
	start, tenth := time.Now(), int64(-1)
	return func(done, total int64) {
		if tty {
			if bar == nil {
				bar = progressbar.DefaultBytes(total, "fetching")
			}
			_ = bar.Set64(done)
			return
		}
		if t := done * 10 / max(total, 1); total > 0 && t != tenth {
			tenth = t
			fmt.Fprintf(stderr, "fetched %s of %s, %s\n", gpu.BytesText(done), gpu.BytesText(total), duration(time.Since(start).Seconds()))
		}
	}
}

// weightsConvert writes the 13 convolutions of any readable file.
func weightsConvert(args []string, f convertFlags, stdout, stderr io.Writer) error {
	if len(args) != 2 {
		return usage(fmt.Errorf("give the file to read and the file to write; got %d names", len(args)))
	}
	in, out := args[0], args[1]
	var files claims
	if !weights.IsRandom(in) {
		files.read("the weights that are converted", in)
	}
	files.write("", "the conversion", out)
	if err := files.check(); err != nil {
		return usage(err)
	}
	files.sweep()
	load := func(name string) (*vgg.Weights, error) {
		w, _, err := resolveWeights(name)
		return w, err
	}
	if f.caffe {
		load = weights.LoadCaffe
	}
	w, err := load(in)
	if err != nil {
		return usage(err)
	}
	if w.Converted != "" {
		fmt.Fprintf(stderr, "stylize: weights %s: %s\n", in, w.Converted)
	}
	if err := weights.Save(out, w); err != nil {
		return err
	}
	st, err := os.Stat(out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: %s, values sha256 %s\n", plain(out), gpu.BytesText(st.Size()), w.SHA256)
	return err
}

// weightsVerify reads everything and prints what is there.
func weightsVerify(args []string, stdout io.Writer) error {
	path, err := weights.CachePath()
	switch len(args) {
	case 0:
		if err != nil {
			return usage(err)
		}
	case 1:
		path = args[0]
	default:
		return usage(errors.New("give one file"))
	}
	w, err := weights.Load(path)
	if len(args) == 0 && errors.Is(err, fs.ErrNotExist) {
		return usage(errors.New("weights verify: none are fetched yet; run `stylize weights fetch`, or give a file"))
	}
	if err != nil {
		return usage(err)
	}
	format, err := weights.Format(path)
	if err != nil {
		return usage(err)
	}
	t := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "layer\tshape\tmean\tdeviation\tlargest\t")
	for i := range w.Conv {
		cw := &w.Conv[i]
		l := vgg.Layers[cw.Layer]
		mean, dev, top := stats(cw.W)
		fmt.Fprintf(t, "%s\t%d x %d x 3 x 3\t%.5f\t%.5f\t%.3f\t\n", l.Name, l.K, l.C, mean, dev, top)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if w.Converted != "" {
		format += ", " + w.Converted
	}
	_, err = fmt.Fprintf(stdout, "%s: %s, complete, every value finite\nvalues sha256 %s\n", plain(path), format, w.SHA256)
	return err
}

func stats(v []float32) (mean, dev, top float64) {
	var sum, sq float64
	for _, x := range v {
		sum += float64(x)
		sq += float64(x) * float64(x)
		top = max(top, math.Abs(float64(x)))
	}
	n := float64(len(v))
	mean = sum / n
	return mean, math.Sqrt(max(sq/n-mean*mean, 0)), top
}
