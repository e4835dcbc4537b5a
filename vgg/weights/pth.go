package weights

import (
	"archive/zip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"path"
	"strings"
	"sync/atomic"
)

// legacyMagic opens the older form: a pickle of the number 0x1950a86a20f9469cfc6c.
var legacyMagic = []byte{0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'}

// openTorchZip reads the form that torch.save writes since 1.6: an archive of
// NAME/data.pkl and one NAME/data/KEY per storage, stored without compression.
func openTorchZip(r io.ReaderAt, size int64) (*file, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, formatErr("the archive is damaged or cut off (%v)", err)
	}
	entries := map[string]*zip.File{}
	var pkl *zip.File
	for _, e := range z.File {
		_, name, _ := strings.Cut(e.Name, "/")
		entries[name] = e
		if path.Base(e.Name) == "data.pkl" {
			pkl = e
		}
	}
	if pkl == nil {
		return nil, formatErr("the archive holds no data.pkl; it was not written by torch.save")
	}
	if e := entries["byteorder"]; e != nil {
		if b, err := readEntry(e, 0, int64(e.UncompressedSize64), 16); err == nil && string(b) != "little" {
			return nil, formatErr("its values are %q endian", b)
		}
	}
	p, err := pkl.Open()
	if err != nil {
		return nil, formatErr("data.pkl: %v", err)
	}
	defer p.Close()
	v, err := newUnpickler(p).next()
	if err != nil {
		return nil, err
	}
	refs, err := stateDict(v)
	if err != nil {
		return nil, err
	}
	f := &file{format: "torch zip", tensors: map[string]tensor{}}
	var unpacked atomic.Int64 // of entries that are packed, which torch.save's are not
	for name, t := range refs {
		f.tensors[name] = tensor{dtype: t.storage.dtype, shape: t.shape, read: func(dst []float32) error {
			off, n, err := t.span()
			if err != nil {
				return err
			}
			e := entries["data/"+t.storage.key]
			if e == nil {
				return formatErr("the archive lacks its data (data/%s)", plain(t.storage.key))
			}
			if e.Method != zip.Store && (off > maxUnpacked || unpacked.Add(off+n) > maxUnpacked) {
				return formatErr("it unpacks to more than %d MB; unpack it first", maxUnpacked>>20)
			}
			raw, err := readEntry(e, off, n, n)
			if err != nil {
				return err
			}
			return decode(dst, raw, t.storage.dtype)
		}}
	}
	return f, nil
}

// span is the range of bytes of a tensor in its storage.
func (t tensorRef) span() (off, n int64, err error) {
	n, ok := t.contiguous()
	if !ok {
		return 0, 0, formatErr("it is not stored row by row; save a contiguous copy")
	}
	if t.offset > t.storage.numel-n {
		return 0, 0, formatErr("it reaches past its storage of %d values", t.storage.numel)
	}
	b := storageBytes[t.storage.dtype]
	return t.offset * b, n * b, nil
}

// readEntry reads n bytes at off of an archive entry, at most limit. Stored
// entries are read in place, and checked when read whole.
func readEntry(e *zip.File, off, n, limit int64) ([]byte, error) {
	if n > limit || off < 0 || off+n > int64(e.UncompressedSize64) {
		return nil, formatErr("entry %s has %d bytes, %d at %d are wanted", plain(e.Name), e.UncompressedSize64, n, off)
	}
	var r io.Reader
	if e.Method == zip.Store {
		raw, err := e.OpenRaw()
		if err != nil {
			return nil, formatErr("entry %s: %v", plain(e.Name), err)
		}
		s, ok := raw.(io.Seeker)
		if ok {
			_, err = s.Seek(off, io.SeekStart)
		} else {
			_, err = io.CopyN(io.Discard, raw, off)
		}
		if err != nil {
			return nil, formatErr("entry %s: %v", plain(e.Name), err)
		}
		r = raw
	} else {
		c, err := e.Open()
		if err != nil {
			return nil, formatErr("entry %s: %v", plain(e.Name), err)
		}
		defer c.Close()
		if _, err := io.CopyN(io.Discard, c, off); err != nil {
			return nil, formatErr("entry %s: %v", plain(e.Name), err)
		}
		r = c
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, formatErr("entry %s: %v", plain(e.Name), err)
	}
	if n == int64(e.UncompressedSize64) && crc32.ChecksumIEEE(b) != e.CRC32 {
		return nil, formatErr("entry %s: its checksum does not fit; the file is damaged", plain(e.Name))
	}
	return b, nil
}

// openTorchLegacy reads the older form: pickles of a magic number, a protocol
// number, facts of the machine, the object, the keys of its storages, and then
// each storage as a 64-bit count and its values.
func openTorchLegacy(r io.ReaderAt, size int64) (*file, error) {
	u := newUnpickler(io.NewSectionReader(r, 0, size))
	var parts [5]any
	for i := range parts {
		v, err := u.next()
		if err != nil {
			return nil, err
		}
		parts[i] = v
	}
	if parts[1] != int64(1001) {
		return nil, formatErr("another torch protocol than 1001")
	}
	if info, ok := parts[2].(*dict); ok {
		for i, k := range info.keys {
			if k == "little_endian" && info.values[i] != true {
				return nil, formatErr("its values are big endian")
			}
		}
	}
	refs, err := stateDict(parts[3])
	if err != nil {
		return nil, err
	}
	keys, ok := parts[4].(*list)
	if !ok {
		return nil, formatErr("it does not list its storages")
	}
	need := map[string]storage{}
	for _, t := range refs {
		need[t.storage.key] = t.storage
	}
	start := map[string]int64{}
	pos := u.pos
	for _, k := range keys.items {
		key, _ := k.(string)
		s, ok := need[key]
		if !ok {
			return nil, formatErr("its storage %s belongs to no tensor", plain(key))
		}
		b, err := readRaw(r, size, pos, 8)
		if err != nil {
			return nil, err
		}
		if n := int64(binary.LittleEndian.Uint64(b)); n != s.numel {
			return nil, formatErr("storage %s holds %d values, its tensor says %d", plain(key), n, s.numel)
		}
		start[key] = pos + 8
		bytes := s.numel * storageBytes[s.dtype]
		if s.numel > size || bytes > size-pos-8 {
			return nil, formatErr("the file is cut off: storage %s has %d bytes, %d are left", plain(key), bytes, size-pos-8)
		}
		pos += 8 + bytes
	}
	f := &file{format: "torch legacy", tensors: map[string]tensor{}}
	for name, t := range refs {
		f.tensors[name] = tensor{dtype: t.storage.dtype, shape: t.shape, read: func(dst []float32) error {
			off, n, err := t.span()
			if err != nil {
				return err
			}
			at, ok := start[t.storage.key]
			if !ok {
				return formatErr("the file lacks its data")
			}
			raw, err := readRaw(r, size, at+off, n)
			if err != nil {
				return err
			}
			return decode(dst, raw, t.storage.dtype)
		}}
	}
	return f, nil
}
