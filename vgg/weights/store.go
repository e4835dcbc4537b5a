package weights

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/stylize-gpu/stylize/vgg"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// The official file: torchvision's VGG19, trained on ImageNet. Its name carries
// the first digits of its SHA-256; the others, and its size, are as eight public
// repositories state them.
const (
	OfficialURL  = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
	officialSHA  = "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44"
	officialSize = 574_673_361 // bytes
	cacheName    = "vgg19-dcbb9e9d.safetensors"
)

// EnvCache overrides the folder where weights are kept.
const EnvCache = "STYLIZE_CACHE"

// CacheDir is where fetched weights are kept: $STYLIZE_CACHE, or stylize in the
// user's cache folder. It need not exist.
func CacheDir() (string, error) {
	if d := os.Getenv(EnvCache); d != "" {
		return d, nil
	}
	d, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("weights: no cache folder (%w); set %s", err, EnvCache)
	}
	return filepath.Join(d, "stylize"), nil
}

// CachePath is where [Fetch] puts the official weights.
func CachePath() (string, error) {
	d, err := CacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(d, cacheName), nil
}

// ErrCache marks fetched weights that are there and cannot be used; [Fetch]
// replaces them.
var ErrCache = errors.New("the fetched weights cannot be used")

// Resolve loads weights by a name: a path, "random", "random:SEED", or "auto"
// (also ""), which is the fetched weights, and random:0 where there are none.
// fellBack reports the latter: a user wants to know.
func Resolve(name string) (w *vgg.Weights, fellBack bool, err error) {
	switch {
	case name == "" || name == "auto":
		path, err := CachePath()
		if err != nil { // without a home nothing can have been fetched
			return Random(0), true, nil
		}
		w, err := Load(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return Random(0), true, nil
		case err != nil:
			return nil, false, fmt.Errorf("%w: %w", ErrCache, err)
		}
		return w, false, nil
	case IsRandom(name):
		seed, err := ParseRandom(name)
		if err != nil {
			return nil, false, err
		}
		return Random(seed), false, nil
	}
	w, err = Load(name)
	return w, false, err
}

// IsRandom reports whether weights of this name are made and not read.
func IsRandom(name string) bool { return name == "random" || strings.HasPrefix(name, "random:") }

// ParseRandom reads the seed of "random" or "random:SEED".
func ParseRandom(name string) (uint32, error) {
	_, s, ok := strings.Cut(name, ":")
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("weights %s: the seed must be a number from 0 to 4294967295", name)
	}
	return uint32(n), nil
}

// Save writes the weights to path, whole or not at all: zstd when the name ends
// in .zst, else plain safetensors.
func Save(path string, w *vgg.Weights) error {
	base := strings.TrimSuffix(path, ".zst")
	if filepath.Ext(base) != ".safetensors" {
		return fmt.Errorf("%s: weights are written as .safetensors or .safetensors.zst; choose such a name", path)
	}
	return atomicfile.Write(path, func(f io.Writer) error {
		if base == path {
			return Write(f, w)
		}
		z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest))
		if err != nil {
			return err
		}
		if err := Write(z, w); err != nil {
			return errors.Join(err, z.Close())
		}
		return z.Close()
	})
}

// Format opens a file and says what it is, without reading the values.
func Format(path string) (string, error) {
	f, size, err := openfile.Regular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	o, err := open(f, size)
	if err != nil {
		return "", fmt.Errorf("weights %s: %w", path, err)
	}
	return o.format, nil
}

// Official reports whether a file's SHA-256, in hexadecimal, is that of torchvision's.
func Official(sha256 string) bool { return sha256 == officialSHA }
