package batch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Shard is a part of a list: number I of N, from 0.
type Shard struct{ I, N int }

// Whole reports whether it is everything.
func (s Shard) Whole() bool { return s.N <= 1 }

func (s Shard) String() string { return fmt.Sprintf("%d/%d", s.I, s.N) }

// Has reports whether an item belongs to it. Items are split by what the list says of
// them, not by their place in it: the parts stay the same when others come or go. It is
// not the key, for which every shard would have to read every picture, and which differs
// between devices of different precision.
func (s Shard) Has(it *Item) bool {
	if s.Whole() {
		return true
	}
	says := []any{it.Content, it.Styles[0].Path, it.Options.Init, canonical(*it.Options), it.Output}
	if !it.plain() {
		says = append(says, it.Styles, it.ContentMask)
	}
	b, err := json.Marshal(says)
	if err != nil {
		return s.I == 0
	}
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:8])%uint64(s.N) == uint64(s.I)
}
