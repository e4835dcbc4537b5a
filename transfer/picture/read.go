package picture

import (
	"context"
	"fmt"
	"io"
)

// Read reads and decodes a picture from a stream, as [OpenContext] does from a file; name
// is what errors call it.
func Read(ctx context.Context, r io.Reader, name string, l Limits) (*Source, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: cannot be read: %w", name, err)
	case len(b) > maxFile:
		return nil, fmt.Errorf("%s: has more than %d MB, more than any picture", name, maxFile>>20)
	}
	return DecodeNamed(ctx, b, name, l)
}
