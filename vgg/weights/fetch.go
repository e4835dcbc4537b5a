package weights

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// Errors of [Fetch] that another source of the file cures, for errors.Is.
var (
	ErrNoConnection = errors.New("no connection")
	ErrRefused      = errors.New("the server does not hand it out") // and trying again would not help
	ErrWrongHash    = errors.New("wrong hash")                      // it sends another file than the one asked for
)

// FetchOptions configures [Fetch]; the zero value fetches the official weights.
type FetchOptions struct {
	URL      string                  // OfficialURL if empty
	SHA256   string                  // hexadecimal, a prefix suffices; by default the digits in the URL's name, as in vgg19-dcbb9e9d.pth, else those of the official file
	Path     string                  // where the 13 convolutions go; CachePath if empty
	Progress func(done, total int64) // called as bytes arrive; total is -1 when the server does not say
	Stall    time.Duration           // give up on a connection that sends nothing for so long; 30 s if 0
	Retries  int                     // connections after the first that may be tried, each going on where the last broke off; 4 if 0, none if < 0
	Backoff  time.Duration           // pause before the first retry, doubling; 1 s if 0
}

// Fetch downloads a weights file, verifies its hash, keeps the 13 convolutions
// at Path and removes the download. A broken download stays beside Path as
// NAME.part, and the next call goes on with it.
func Fetch(ctx context.Context, o FetchOptions) (string, error) {
	if o.URL == "" {
		o.URL = OfficialURL
	}
	if o.Path == "" {
		p, err := CachePath()
		if err != nil {
			return "", err
		}
		o.Path = p
	}
	if o.SHA256 == "" {
		if m := hashInName.FindStringSubmatch(path.Base(o.URL)); m != nil {
			o.SHA256 = m[1]
		} else {
			o.SHA256 = officialSHA
		}
	}
	if o.Stall == 0 {
		o.Stall = 30 * time.Second
	}
	if o.Retries == 0 {
		o.Retries = 4
	}
	if o.Backoff == 0 {
		o.Backoff = time.Second
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o777); err != nil {
		return "", fmt.Errorf("weights: %w; set %s to a folder that can be written", err, EnvCache)
	}
	if err := atomicfile.Check(o.Path); err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	part := filepath.Join(filepath.Dir(o.Path), path.Base(o.URL)+".part")
	var err error
	for try := 0; ; try++ {
		if err = download(ctx, o, part); err == nil {
			break
		}
		var perm permanent
		if errors.As(err, &perm) || try >= max(o.Retries, 0) || ctx.Err() != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			if st, e := os.Stat(part); e == nil && st.Size() == 0 {
				os.Remove(part) // nothing to go on with
			}
			return "", fmt.Errorf("weights: %s: %w", o.URL, err)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("weights: %s: %w", o.URL, ctx.Err())
		case <-time.After(o.Backoff << try):
		}
	}
	w, err := Load(part)
	if err != nil {
		os.Remove(part)
		return "", fmt.Errorf("weights: %s: what it sent cannot be used: %w", o.URL, err)
	}
	w.Source = o.URL
	if err := Save(o.Path, w); err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	return o.Path, os.Remove(part)
}

var hashInName = regexp.MustCompile(`-([0-9a-f]{8,64})\.[a-z]+$`)

// permanent is an error that another try cannot cure.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// download brings part to completion over one connection and checks its hash.
func download(ctx context.Context, o FetchOptions, part string) (err error) {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return permanent{err}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	have, err := io.Copy(sum, f) // an earlier part counts towards the hash
	if err != nil {
		return permanent{err}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(o.Stall, func() { cancel(fmt.Errorf("the server sent nothing for %v", o.Stall)) })
	defer stall.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
	if err != nil {
		return permanent{err}
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := http.DefaultClient.Do(req)
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return permanent{fmt.Errorf("%w (%w)", ErrNoConnection, dial.Err)}
	}
	if err != nil {
		return cause(ctx, err)
	}
	defer resp.Body.Close()
	total := int64(-1)
	switch resp.StatusCode {
	case http.StatusOK:
		if have > 0 { // no ranges here: start again
			have = 0
			sum.Reset()
			if err := errors.Join(f.Truncate(0), seekStart(f)); err != nil {
				return permanent{err}
			}
		}
		total = resp.ContentLength
	case http.StatusPartialContent:
		var from int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &from); err != nil || from != have {
			return discard(f, permanent{fmt.Errorf("the server answered a range that was not asked for; try again")})
		}
		if resp.ContentLength >= 0 {
			total = have + resp.ContentLength
		}
	case http.StatusRequestedRangeNotSatisfiable: // complete already, or another file
		if o.SHA256 != "" && strings.HasPrefix(hex.EncodeToString(sum.Sum(nil)), o.SHA256) {
			return nil
		}
		return discard(f, errors.New("the part on disk does not belong to this file"))
	default:
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return fmt.Errorf("the server answered %s", resp.Status)
		}
		return permanent{fmt.Errorf("%w: it answered %s", ErrRefused, resp.Status)}
	}

	// A body shorter than announced is an error of Read, net/http sees to that.
	_, err = pump(f, sum, resp.Body, have, total, func(n int64) {
		stall.Reset(o.Stall)
		o.Progress(n, total)
	})
	if err != nil {
		return cause(ctx, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); !strings.HasPrefix(got, strings.ToLower(o.SHA256)) {
		return discard(f, permanent{fmt.Errorf("%w: the file is %s, not %s; nothing was kept", ErrWrongHash, got[:16], o.SHA256)})
	}
	return nil
}

// pump copies and counts. Errors of the disk are permanent, of the network not.
func pump(f *os.File, sum hash.Hash, r io.Reader, have, total int64, progress func(int64)) (int64, error) {
	buf := make([]byte, 1<<18)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			sum.Write(buf[:n])
			if _, err := f.Write(buf[:n]); err != nil {
				return have, permanent{atomicfile.Explain(f.Name(), err)}
			}
			have += int64(n)
			progress(have)
		}
		if err == io.EOF {
			return have, nil
		}
		if err != nil {
			return have, fmt.Errorf("the connection broke off after %d of %d bytes (%w); run the command again to go on", have, total, err)
		}
	}
}

// cause prefers the reason of our own cancellation over "context canceled".
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && !errors.As(err, new(permanent)) {
		return c
	}
	return err
}

// discard empties the part, so that the next try starts afresh.
func discard(f *os.File, err error) error {
	if e := f.Truncate(0); e != nil && !errors.Is(e, fs.ErrClosed) {
		return errors.Join(err, e)
	}
	return err
}

func seekStart(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}
