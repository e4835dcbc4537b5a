package ptx

import (
	"fmt"
	"strings"
)

type kind uint8

const (
	eof     kind = iota
	word         // add.rn.f32, %tid.x, $L__BB0_1, mbarrier.init.shared::cta.b64
	dotWord      // .reg, .shared
	number       // 12, 0x1F, 0f3F800000, 1.5, 7U
	str          // "…"
	punct        // one byte
)

type token struct {
	kind kind
	text string
	pos  Pos
	end  int // offset behind it
}

func (t token) String() string {
	if t.kind == eof {
		return "end of file"
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer cuts a source into tokens. Opcodes keep their modifiers, so that a
// "::" inside one is never taken for the ":" behind a label.
type lexer struct {
	src  string
	off  int
	line int
	bol  int // offset of the line's first byte
}

func (l *lexer) pos() Pos { return Pos{l.line, l.off - l.bol + 1} }

func letter(c byte) bool {
	return c == '_' || c == '$' || c == '%' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
func digit(c byte) bool { return '0' <= c && c <= '9' }

func (l *lexer) at(i int) byte {
	if i < len(l.src) {
		return l.src[i]
	}
	return 0
}

func (l *lexer) skipSpace() error {
	for l.off < len(l.src) {
		switch c := l.src[l.off]; {
		case c == '\n':
			l.off++
			l.line++
			l.bol = l.off
		case c == ' ' || c == '\t' || c == '\r':
			l.off++
		case c == '/' && l.at(l.off+1) == '/':
			l.skipLine()
		case c == '/' && l.at(l.off+1) == '*':
			n := strings.Index(l.src[l.off+2:], "*/")
			if n < 0 {
				return fmt.Errorf("comment without an end")
			}
			text := l.src[l.off : l.off+n+4]
			l.line += strings.Count(text, "\n")
			if k := strings.LastIndexByte(text, '\n'); k >= 0 {
				l.bol = l.off + k + 1
			}
			l.off += len(text)
		default:
			return nil
		}
	}
	return nil
}

// skipLine moves to the end of the line.
func (l *lexer) skipLine() {
	if n := strings.IndexByte(l.src[l.off:], '\n'); n >= 0 {
		l.off += n
	} else {
		l.off = len(l.src)
	}
}

// words returns the offset behind a word with its .parts and ::parts.
func (l *lexer) words(i int) int {
	for {
		for letter(l.at(i)) || digit(l.at(i)) {
			i++
		}
		switch {
		case l.at(i) == '.' && (letter(l.at(i+1)) || digit(l.at(i+1))):
			i++
		case l.at(i) == ':' && l.at(i+1) == ':' && (letter(l.at(i+2)) || digit(l.at(i+2))):
			i += 2
		default:
			return i
		}
	}
}

func (l *lexer) next() (token, error) {
	if err := l.skipSpace(); err != nil {
		return token{pos: l.pos()}, err
	}
	t := token{pos: l.pos()}
	if l.off >= len(l.src) {
		t.end = l.off
		return t, nil
	}
	start, c := l.off, l.src[l.off]
	switch {
	case letter(c):
		t.kind, l.off = word, l.words(l.off)
	case c == '.' && (letter(l.at(l.off + 1))):
		t.kind, l.off = dotWord, l.words(l.off+1)
		// A state space may stand before its type without a blank, as in .reg.b32.
		if n := strings.IndexByte(l.src[start+1:l.off], '.') + 1; n > 0 {
			if space := l.src[start : start+n]; space == ".reg" || spaceByName[space] != NoSpace {
				l.off = start + n
			}
		}
	case digit(c):
		t.kind = number
		for letter(l.at(l.off)) || digit(l.at(l.off)) || l.at(l.off) == '.' {
			l.off++
			if e := l.at(l.off - 1); (e == 'e' || e == 'E') && (l.at(l.off) == '-' || l.at(l.off) == '+') &&
				!strings.HasPrefix(l.src[start:], "0x") {
				l.off++
			}
		}
	case c == '"':
		n := strings.IndexAny(l.src[l.off+1:], "\"\n")
		if n < 0 || l.src[l.off+1+n] == '\n' {
			return t, fmt.Errorf("string without an end")
		}
		t.kind, t.text = str, l.src[l.off+1:l.off+1+n]
		l.off += n + 2
		t.end = l.off
		return t, nil
	case strings.IndexByte("{}[]()<>,;:@!|+-=*/%&^~?", c) >= 0:
		t.kind = punct
		l.off++
	default:
		return t, fmt.Errorf("unexpected character %q", c)
	}
	t.text, t.end = l.src[start:l.off], l.off
	return t, nil
}
