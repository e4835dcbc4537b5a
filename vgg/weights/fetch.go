package weights

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stylize-gpu/stylize/vgg/atomicfile"
)

// Errors of [Fetch] that another source of the file cures, for errors.Is.
var (
	ErrNoConnection = errors.New("no connection")
	ErrRefused      = errors.New("the server does not hand it out") // and trying again would not help
	ErrWrongHash    = errors.New("wrong hash")                      // it sends another file than the one asked for
	ErrCertificate  = errors.New("its certificate is not trusted")  // as that of a proxy which reads along
)

// OptionError says what of the options of [Fetch] cannot be; nothing was fetched.
type OptionError string

func (e OptionError) Error() string { return string(e) }

const (
	minRate     = 1000    // bytes a second that a connection must bring
	maxDownload = 2 << 30 // bytes that are taken from any source; the official file has 575 MB
)

// FetchOptions configures [Fetch]; the zero value fetches the official weights.
type FetchOptions struct {
	URL      string                  // OfficialURL if empty
	SHA256   string                  // hexadecimal, a prefix suffices; by default that of the official file, unless the URL's name has other digits, as in vgg19-abcdef01.pth
	Path     string                  // where the 13 convolutions go; CachePath if empty
	Progress func(done, total int64) // called as bytes arrive; total is -1 when the server does not say
	Waiting  func()                  // called when another process fetches, before waiting for it
	Stall    time.Duration           // give up on a connection that brings less than a kilobyte a second for so long; 20 s if 0
	Retries  int                     // connections after the first that may be tried, each going on where the last broke off; 4 if 0, none if < 0
	Backoff  time.Duration           // pause before the first retry, doubling; 1 s if 0
}

// Fetch downloads a weights file, verifies its hash, keeps the 13 convolutions
// at Path and removes the download. A broken download stays beside Path as
// NAME.part, and the next call goes on with it. One process at a time fetches into a
// folder; one that has waited takes what the other has fetched.
func Fetch(ctx context.Context, o FetchOptions) (string, error) {
	if err := o.complete(); err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	dir := filepath.Dir(o.Path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", fmt.Errorf("weights: %w; set %s to a folder that can be written", err, EnvCache)
	}
	waited := false
	unlock, err := atomicfile.Lock(ctx, filepath.Join(dir, ".fetch.lock"), func() {
		waited = true
		o.Waiting()
	})
	if err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	defer unlock()
	if waited {
		if _, err := Load(o.Path); err == nil {
			return o.Path, nil
		}
	}
	atomicfile.Sweep(dir)
	if err := atomicfile.Check(o.Path); err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	part := filepath.Join(dir, partName(o.URL))
	if err := o.tries(ctx, part); err != nil {
		if st, e := os.Lstat(part); e == nil && st.Size() == 0 {
			_ = atomicfile.Remove(part) // nothing to go on with
		}
		return "", fmt.Errorf("weights: %s: %w", o.URL, err)
	}
	w, err := Load(part)
	if err != nil {
		_ = atomicfile.Remove(part)
		return "", fmt.Errorf("weights: %s: what it sent cannot be used: %w", o.URL, err)
	}
	w.Source = o.URL
	if err := Save(o.Path, w); err != nil {
		return "", fmt.Errorf("weights: %w", err)
	}
	return o.Path, atomicfile.Remove(part)
}

// complete fills in what was left out.
func (o *FetchOptions) complete() error {
	if o.URL == "" {
		o.URL = OfficialURL
	}
	if u, err := url.Parse(o.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return OptionError(plain(o.URL) + " is no address of the web; give one that begins with https://")
	}
	if o.Path == "" {
		p, err := CachePath()
		if err != nil {
			return err
		}
		o.Path = p
	}
	o.SHA256 = strings.ToLower(o.SHA256)
	if m := hashInName.FindStringSubmatch(path.Base(o.URL)); o.SHA256 == "" && m != nil {
		o.SHA256 = m[1]
	}
	if len(o.SHA256) > 64 || strings.Trim(o.SHA256, "0123456789abcdef") != "" {
		return OptionError(plain(o.SHA256) + " is no SHA-256; give up to 64 hexadecimal digits")
	}
	if len(o.SHA256) >= 8 && strings.HasPrefix(officialSHA, o.SHA256) || o.SHA256 == "" {
		o.SHA256 = officialSHA
	}
	if o.Stall == 0 {
		o.Stall = 20 * time.Second
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
	if o.Waiting == nil {
		o.Waiting = func() {}
	}
	return nil
}

var hashInName = regexp.MustCompile(`-([0-9a-f]{8,64})\.[a-z]+$`)

// partName is what a download is called on disk: the last part of the address, without
// what a file system may not like.
func partName(url string) string {
	name, _, _ := strings.Cut(path.Base(url), "?")
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return '_'
	}, name)
	return name[max(len(name)-100, 0):] + ".part"
}

// tries downloads over one connection after the other. Two in a row that bring next to
// nothing are enough.
func (o FetchOptions) tries(ctx context.Context, part string) error {
	fruitless := 0
	for try := 0; ; try++ {
		err := download(ctx, o, part)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.As(err, new(stalled)) {
			fruitless++
		} else {
			fruitless = 0
		}
		if errors.As(err, new(permanent)) || try >= max(o.Retries, 0) || fruitless == 2 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(o.Backoff << try):
		}
	}
}

// stalled is a connection that brings next to nothing.
type stalled struct {
	got  int64 // bytes in that time
	time time.Duration
}

func (s stalled) Error() string {
	if s.got == 0 {
		return fmt.Sprintf("the server sent nothing for %v", s.time)
	}
	return fmt.Sprintf("the server sent only %d bytes in %v", s.got, s.time)
}

// permanent is an error that another try cannot cure.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// openPart opens the download of an earlier call, or begins one. It is never opened
// through a link, and what is no file of ours is put out of the way.
func openPart(part string) (atomicfile.File, error) {
	if st, err := os.Lstat(part); err == nil && st.Mode()&fs.ModeSymlink != 0 {
		if err := atomicfile.Remove(part); err != nil {
			return nil, atomicfile.Explain(part, err)
		}
	} else if err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is in the way, and no file; remove it", part)
	}
	f, err := atomicfile.OpenFile(part, os.O_RDWR|os.O_CREATE|atomicfile.NoFollow, 0o666)
	if err != nil {
		return nil, atomicfile.Explain(part, err)
	}
	if others(f) { // another name of a file of somebody else
		err := errors.Join(f.Close(), atomicfile.Remove(part))
		if err == nil {
			f, err = atomicfile.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL|atomicfile.NoFollow, 0o666)
		}
		if err != nil {
			return nil, atomicfile.Explain(part, err)
		}
	}
	return f, nil
}

// download brings part to completion over one connection and checks its hash.
func download(ctx context.Context, o FetchOptions, part string) (err error) {
	f, err := openPart(part)
	if err != nil {
		return permanent{err}
	}
	defer func() {
		if e := f.Close(); err == nil && e != nil {
			err = permanent{atomicfile.Explain(part, e)}
		}
	}()
	sum := sha256.New()
	have, err := io.Copy(sum, io.LimitReader(f, maxDownload+1)) // an earlier part counts towards the hash
	if err != nil {
		return permanent{atomicfile.Explain(part, err)}
	}
	if have > maxDownload {
		return discard(f, errors.New("the part on disk does not belong to this file"))
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var got atomic.Int64
	defer watch(ctx, cancel, &got, o.Stall)()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.URL, nil)
	if err != nil {
		return permanent{err}
	}
	req.Header.Set("Accept-Encoding", "identity")
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := http.DefaultClient.Do(req)
	var dial *net.OpError
	if errors.As(err, &dial) && (dial.Op == "dial" || dial.Op == "proxyconnect") {
		return permanent{fmt.Errorf("%w (%w)", ErrNoConnection, dial.Err)}
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return permanent{fmt.Errorf("%w (%w)", ErrCertificate, errors.Unwrap(err))}
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
				return permanent{atomicfile.Explain(part, err)}
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
			return fmt.Errorf("the server answered %s", plain(resp.Status))
		}
		return permanent{fmt.Errorf("%w: it answered %s", ErrRefused, plain(resp.Status))}
	}
	if o.SHA256 == officialSHA && total >= 0 && total != officialSize {
		return discard(f, permanent{fmt.Errorf("%w: the file has %d bytes, it is not %s of %d bytes; nothing was kept", ErrWrongHash, total, officialSHA, officialSize)})
	}
	if total > maxDownload {
		return discard(f, errTooLarge)
	}

	// A body shorter than announced is an error of Read, net/http sees to that.
	_, err = pump(f, sum, resp.Body, have, total, func(n, now int64) {
		got.Add(now)
		o.Progress(n, total)
	})
	if err != nil {
		return cause(ctx, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); !strings.HasPrefix(got, o.SHA256) {
		return discard(f, permanent{fmt.Errorf("%w: the file is %s, not %s; nothing was kept", ErrWrongHash, got[:16], o.SHA256)})
	}
	return nil
}

var errTooLarge = permanent{fmt.Errorf("%w: it has more than %d MB, which are no weights of VGG19", ErrRefused, maxDownload>>20)}

// watch ends a connection that brings less than minRate for a time.
func watch(ctx context.Context, cancel context.CancelCauseFunc, got *atomic.Int64, every time.Duration) (stop func()) {
	tick := time.NewTicker(every)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if n := got.Swap(0); float64(n) < minRate*every.Seconds() {
					cancel(stalled{n, every})
					return
				}
			}
		}
	}()
	return tick.Stop
}

// pump copies and counts. Errors of the disk are permanent, of the network not.
func pump(f atomicfile.File, sum hash.Hash, r io.Reader, have, total int64, progress func(have, now int64)) (int64, error) {
	buf := make([]byte, 1<<18)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			sum.Write(buf[:n])
			if _, err := f.Write(buf[:n]); err != nil {
				return have, permanent{atomicfile.Explain(f.Name(), err)}
			}
			have += int64(n)
			progress(have, int64(n))
			if have > maxDownload {
				return have, discard(f, errTooLarge)
			}
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
func discard(f atomicfile.File, err error) error {
	if e := f.Truncate(0); e != nil {
		return permanent{fmt.Errorf("%w, and %w", err, atomicfile.Explain(f.Name(), e))}
	}
	return err
}

func seekStart(f atomicfile.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}
