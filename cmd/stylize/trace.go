package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/stylize-gpu/stylize/transfer"
	"github.com/stylize-gpu/stylize/vgg/atomicfile"
	"github.com/stylize-gpu/stylize/vgg/openfile"
)

// traceFile is the CSV of --trace: a row for each evaluation. Its zero value
// ignores everything.
type traceFile struct {
	path  string
	f     atomicfile.File
	w     *bufio.Writer
	terms int // losses by layer in a row
}

const maxTrace = 1 << 28 // bytes that are read of one: a million evaluations

// traceColumns begin each trace; the losses of the layers follow.
const traceColumns = "evaluation,level,content,style,tv,total,step,refused,seconds,gflop"

// openTrace begins a trace. With evaluations that were done by an earlier process it
// goes on with that one's: rows of later evaluations, which are done again, are cut
// off. A run that is resumed does not overwrite what is no trace of it, whatever its
// checkpoint says. An error that comes with a trace is of the
// disk: the trace then takes no rows, and the painting can do without.
func openTrace(ctx context.Context, path string, layers []string, done int, resumed bool, say func(string, ...any)) (*traceFile, error) {
	if path == "" {
		return &traceFile{}, nil
	}
	header := strings.Join(append([]string{traceColumns}, layers...), ",") + "\n"
	t := &traceFile{path: path, terms: len(layers)}
	explain := func(err error) error { return fmt.Errorf("--trace: %w", atomicfile.Explain(path, err)) }
	if st, err := os.Stat(path); resumed && (err != nil || st.Mode().IsRegular()) {
		b, err := openfile.Read(path, maxTrace)
		switch {
		case errors.Is(err, fs.ErrNotExist): // another name, or it was taken away
		case err != nil:
			return nil, usage(fmt.Errorf("--trace: %w", err))
		case !bytes.HasPrefix(b, []byte(header)):
			return nil, usage(fmt.Errorf("--trace %s: is not the trace of this painting; choose another name", path))
		default:
			keep, rows := cut(b, done)
			if rows < done {
				say("stylize: %s has %d of the %d rows before the checkpoint", path, rows, done)
			}
			if t.f, err = atomicfile.OpenContext(ctx, path, os.O_WRONLY, 0); err != nil {
				return &traceFile{}, explain(err)
			}
			t.w = bufio.NewWriter(t.f)
			if err = t.f.Truncate(int64(keep)); err == nil {
				_, err = t.f.Seek(int64(keep), 0)
			}
			if err != nil {
				t.abandon()
				return t, explain(err)
			}
			return t, nil
		}
	}
	f, err := atomicfile.OpenContext(ctx, path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return &traceFile{}, explain(err)
	}
	t.f, t.w = f, bufio.NewWriter(f)
	_, err = t.w.WriteString(header)
	if err = t.flush(err); err != nil {
		t.abandon()
	}
	return t, err
}

// cut finds where the whole rows of evaluations up to done end, and how many they are.
func cut(b []byte, done int) (keep, rows int) {
	for i, line := range bytes.SplitAfter(b, []byte("\n")) {
		if i > 0 {
			first, _, _ := bytes.Cut(line, []byte(","))
			n, err := strconv.Atoi(string(first))
			if err != nil || n > done || !bytes.HasSuffix(line, []byte("\n")) {
				break
			}
			rows++
		}
		keep += len(line)
	}
	return keep, rows
}

// row appends one evaluation; a watcher sees it at once.
func (t *traceFile) row(p transfer.Point) error {
	if t.f == nil {
		return nil
	}
	b := fmt.Appendf(nil, "%d,%dx%d", p.Evaluation, p.W, p.H)
	number := func(v float64) { b = strconv.AppendFloat(append(b, ','), v, 'g', -1, 32) }
	for _, v := range []float64{p.Content, p.Style, p.TV, p.Total, p.Step} {
		number(v)
	}
	refused := 0
	if p.Refused {
		refused = 1
	}
	b = fmt.Appendf(b, ",%d,%.3f,%.3f", refused, p.Seconds, p.GFLOP)
	for i := range t.terms {
		if i < len(p.Terms) {
			number(p.Terms[i])
		} else {
			b = append(b, ',')
		}
	}
	_, err := t.w.Write(append(b, '\n'))
	return t.flush(err)
}

// sync puts the rows on the disk, so that a checkpoint behind them is not ahead.
func (t *traceFile) sync() error {
	if t.f == nil {
		return nil
	}
	if err := t.f.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) && !isSpecial(t.f) {
		return fmt.Errorf("--trace: %w", atomicfile.Explain(t.path, err))
	}
	return nil
}

// isSpecial reports whether a file is a device or a pipe, which cannot be synced.
func isSpecial(f atomicfile.File) bool {
	st, err := f.Stat()
	return err == nil && !st.Mode().IsRegular()
}

func (t *traceFile) flush(err error) error {
	if err = errors.Join(err, t.w.Flush()); err != nil {
		return fmt.Errorf("--trace: %w", atomicfile.Explain(t.path, err))
	}
	return nil
}

// abandon ignores what comes, since the file takes no more.
func (t *traceFile) abandon() {
	t.f.Close()
	t.f = nil
}

// Close may be called twice.
func (t *traceFile) Close() error {
	if t.f == nil {
		return nil
	}
	f := t.f
	t.f = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("--trace: %w", atomicfile.Explain(t.path, err))
	}
	return nil
}
