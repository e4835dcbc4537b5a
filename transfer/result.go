package transfer

import "github.com/stylize-gpu/stylize/transfer/picture"

// ResultSize is the extent of the result of a painting at a working extent. The options
// are valid.
func (o Options) ResultSize(w, h int, content *picture.Source) (int, int) {
	w, h, _ = o.outputSize(w, h, content.W, content.H)
	return w, h
}
