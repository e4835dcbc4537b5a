package picture

import (
	"fmt"
	"io"
)

// Read reads and decodes a picture from a stream, as [Open] does from a file; name is what
// errors call it.
func Read(r io.Reader, name string, maxPixels int) (*Source, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: cannot be read: %w", name, err)
	case len(b) > maxFile:
		return nil, fmt.Errorf("%s: has more than %d MB, more than any picture", name, maxFile>>20)
	}
	s, err := Decode(b, maxPixels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.Path = name
	return s, nil
}
