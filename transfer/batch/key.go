package batch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/transfer/picture"
)

// Key names a result: the SHA-256, in hexadecimal, of the canonical JSON of everything
// that decides its bytes. Two ways to ask for the same picture give the same key.
type Key string

// keyDigits is how much of a key stands in a name or on a screen.
const keyDigits = 16

// Short is the part of it that stands in names: 64 bits.
func (k Key) Short() string { return string(k[:min(keyDigits, len(k))]) }

// Numerics are what of a device changes the bits and is asked for. What a device is
// otherwise, a GPU of this or that kind, is not part of a key: the result's record
// says it.
type Numerics struct {
	Precision string `json:"precision"` // "fp32", "fp16", ...
	Kernels   string `json:"kernels,omitempty"`
	LowMemory bool   `json:"low_memory,omitempty"`
}

// Output is how a result is written.
type Output struct {
	Quality     int    // of a JPEG; 0 is 95
	Subsampling string // of a JPEG; empty is 444 from quality 90, else 420
	KeepProfile bool
	Bare        bool // no record of how it was made
}

// keyVersion is raised when the same recipe means another picture.
const keyVersion = 3

// recipe is what is hashed. The order of its fields is that of the JSON.
type recipe struct {
	Version  int             `json:"v"`
	Content  string          `json:"content"` // SHA-256 of the file
	Style    string          `json:"style"`   // empty with Styles
	Init     string          `json:"init"`    // "content", "noise", or the SHA-256 of a file
	Weights  string          `json:"weights"`
	Options  json.RawMessage `json:"options"`
	Snap     int             `json:"snap,omitempty"`
	Numerics Numerics        `json:"numerics"`
	Output   encoding        `json:"output"`

	// Of several styles, and of one that has a mask.
	Styles      []styleHashes `json:"styles,omitempty"`
	ContentMask string        `json:"content_mask,omitempty"`
}

// styleHashes are the SHA-256 of the files of a style.
type styleHashes struct {
	Style string `json:"style"`
	Mask  string `json:"mask,omitempty"`
	Look  string `json:"look,omitempty"`
}

// encoding is an Output as it comes to count in a format.
type encoding struct {
	Format      string `json:"format"`
	Bits        int    `json:"bits"`
	Quality     int    `json:"quality,omitempty"`
	Subsampling string `json:"subsampling,omitempty"`
	KeepProfile bool   `json:"keep_profile,omitempty"`
	Bare        bool   `json:"bare,omitempty"`
}

// hashes are the SHA-256 of an item's files. That of init is empty where it starts from
// the content or noise.
type hashes struct {
	content, contentMask, init, weights string
	styles                              []styleHashes
}

func (r recipe) key() Key {
	b, err := json.Marshal(r)
	if err != nil { // numbers were validated: there is no NaN among them
		return ""
	}
	sum := sha256.Sum256(b)
	return Key(hex.EncodeToString(sum[:]))
}

// keyOf is the key of an item whose options are valid.
func keyOf(o transfer.Options, h hashes, format picture.Format, out Output, n Numerics, snap int) Key {
	r := recipe{
		Version: keyVersion, Content: h.content, Init: o.Init, Weights: h.weights,
		Options: canonical(o), Snap: snap, Numerics: n, ContentMask: h.contentMask,
	}
	if len(h.styles) == 1 && h.styles[0] == (styleHashes{Style: h.styles[0].Style}) {
		r.Style = h.styles[0].Style
	} else {
		r.Styles = h.styles
	}
	if h.init != "" {
		r.Init = h.init
	}
	r.Output = encoding{Format: strings.ToLower(format.String()), Bits: o.Bits, KeepProfile: out.KeepProfile, Bare: out.Bare}
	if format.Lossy() {
		r.Output.Quality, r.Output.Subsampling = picture.SaveOptions{Quality: out.Quality, Subsampling: out.Subsampling}.Loss()
	}
	return r.key()
}

// canonical is the JSON of options in the one spelling that counts.
func canonical(o transfer.Options) json.RawMessage {
	o = o.Canonical()
	o.Bits = 0 // they stand with the output
	b, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	return b
}
