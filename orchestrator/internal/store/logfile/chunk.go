package logfile

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/orchion/orchion/orchestrator/internal/job"
)

// A chunk is a file that zstdcat can read: a skippable frame that says what is
// in it, and a frame with the records.

const (
	// skippableMagic begins a frame that decoders pass over (RFC 8878, 3.1.2).
	skippableMagic = 0x184D2A50
	// maxChunkHeader is more than a header needs.
	maxChunkHeader = 1 << 10
	// chunkWindow is how far back the compressor looks, and so what it and the
	// decompressor need of memory, about.
	chunkWindow = 1 << 20
)

// chunkHeader is what is known of a chunk without decompressing it.
type chunkHeader struct {
	// Before and After are the last lines of stdout and stderr up to the
	// chunk's beginning and its end.
	Before held `json:"before"`
	After  held `json:"after"`
	// Entries is how many a reader sees of it.
	Entries int64 `json:"entries"`
	// Last is the latest time of an entry, in nanoseconds; 0: none has one.
	Last int64 `json:"last"`
	// Bare says that the records are without their checksums: the compressed
	// frame has one of its own.
	Bare bool `json:"bare,omitempty"`
	// Complete says that the chunk ends with the mark of a whole log.
	Complete bool `json:"complete,omitempty"`
}

// errDamaged says that a chunk is not what was written.
var errDamaged = errors.New("the chunk is damaged")

// codec compresses and decompresses. It takes its memory when it is first used.
type codec struct {
	once    sync.Once
	encoder *zstd.Encoder
	decoder *zstd.Decoder
	err     error
}

func (c *codec) ready() error {
	c.once.Do(func() {
		c.encoder, c.err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(chunkWindow), zstd.WithLowerEncoderMem(true))
		if c.err == nil {
			c.decoder, c.err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecodeAllCapLimit(true))
		}
	})
	return c.err
}

// close frees what the codec holds. It may be unused.
func (c *codec) close() {
	c.once.Do(func() {})
	if c.decoder != nil {
		c.decoder.Close()
	}
}

// encodeChunk gives the file of a chunk.
func (c *codec) encodeChunk(records []byte, header chunkHeader) ([]byte, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	if bare, ok := withoutChecksums(records); ok {
		records, header.Bare = bare, true
	}
	fields, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	file := make([]byte, 0, len(fields)+len(records)/4)
	file = binary.LittleEndian.AppendUint32(file, skippableMagic)
	file = binary.LittleEndian.AppendUint32(file, uint32(checksumLength+1+len(fields)))
	file = hex.AppendEncode(file, binary.BigEndian.AppendUint32(nil, crc32.Checksum(fields, castagnoli())))
	file = append(append(file, ' '), fields...)
	return c.encoder.EncodeAll(records, file), nil
}

// readChunkHeader reads the beginning of a chunk's file.
func readChunkHeader(file io.Reader) (chunkHeader, error) {
	var h chunkHeader
	var frame [8]byte
	if _, err := io.ReadFull(file, frame[:]); err != nil {
		return h, damagedBy(err)
	}
	length := binary.LittleEndian.Uint32(frame[4:])
	if binary.LittleEndian.Uint32(frame[:]) != skippableMagic || length <= checksumLength+1 || length > maxChunkHeader {
		return h, errDamaged
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(file, text); err != nil {
		return h, damagedBy(err)
	}
	fields := text[checksumLength+1:]
	sum, err := hex.DecodeString(string(text[:checksumLength]))
	if err != nil || binary.BigEndian.Uint32(sum) != crc32.Checksum(fields, castagnoli()) {
		return h, errDamaged
	}
	if err := json.Unmarshal(fields, &h); err != nil {
		return h, errDamaged
	}
	return h, nil
}

// damagedBy takes a file that is too short for a damaged one.
func damagedBy(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errDamaged
	}
	return err
}

// chunkHeader reads what is known of a chunk.
func (s *Store) chunkHeader(ref job.Ref, c span) (chunkHeader, error) {
	file, err := s.openFile(s.chunkPath(ref, c), os.O_RDONLY)
	if err != nil {
		return chunkHeader{}, err
	}
	defer s.doneReading(file)
	return readChunkHeader(file)
}

// chunk gives the records of a chunk, which must not be changed. errDamaged
// when they cannot be had.
func (s *Store) chunk(ref job.Ref, c span) ([]byte, error) {
	return s.chunks.get(chunkKey{ref, c}, func() ([]byte, error) {
		if err := s.codec.ready(); err != nil {
			return nil, err
		}
		file, err := s.openFile(s.chunkPath(ref, c), os.O_RDONLY)
		if err != nil {
			return nil, err
		}
		header, err := readChunkHeader(file)
		var compressed []byte
		if err == nil {
			compressed, err = io.ReadAll(file)
		}
		s.doneReading(file)
		if err != nil {
			return nil, err
		}
		// The name says how long it is, and that is all it may become.
		records, err := s.codec.decoder.DecodeAll(compressed, make([]byte, 0, c.length()))
		if err == nil && header.Bare {
			records = withChecksums(records, c.length())
		}
		if err != nil || int64(len(records)) != c.length() {
			return nil, errDamaged
		}
		return records, nil
	})
}

// sealLocked makes the text into chunks, once it is long enough. The log is the
// same without it, so a failure, such as a full disk, only puts it off.
func (l *attemptLog) sealLocked() {
	shape := l.shape.Load()
	if shape.text.end < l.sealAt || shape.text.length() == 0 {
		return
	}
	if err := l.makeChunksLocked(shape); err != nil {
		l.sealAt = shape.text.end + l.store.chunkBytes
	}
}

func (l *attemptLog) makeChunksLocked(shape *layout) error {
	s := l.store
	path := s.textPath(l.ref, shape.text.start)
	file, err := s.openFile(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	records := make([]byte, shape.text.length())
	_, err = file.ReadAt(records, 0)
	s.doneReading(file)
	if err != nil {
		return err
	}
	next := &layout{chunks: shape.chunks[:len(shape.chunks):len(shape.chunks)], text: span{shape.text.end, shape.text.end}}
	before := l.textBefore
	var made []span
	for at := shape.text.start; len(records) > 0; {
		piece := records
		if int64(len(piece)) > 2*s.chunkBytes {
			piece = piece[:bytes.IndexByte(piece[s.chunkBytes:], '\n')+int(s.chunkBytes)+1]
		}
		records = records[len(piece):]
		header := describe(piece, before)
		c := span{at, at + int64(len(piece))}
		if err := l.writeChunk(c, piece, header); err != nil {
			return err
		}
		made = append(made, c)
		before, at = header.After, c.end
	}
	// What is compressed is on the disk before the text goes.
	s.shape.Lock()
	defer s.shape.Unlock()
	for _, c := range made {
		if err := os.Rename(s.chunkPath(l.ref, c)+partSuffix, s.chunkPath(l.ref, c)); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	s.kept.Add(-shape.text.length())
	next.chunks = append(next.chunks, made...)
	l.shape.Store(next)
	l.textBefore, l.sealAt = before, next.text.end+s.chunkBytes
	return nil
}

// writeChunk writes a chunk's file, under its name until it is finished.
func (l *attemptLog) writeChunk(c span, records []byte, header chunkHeader) error {
	s := l.store
	content, err := s.codec.encodeChunk(records, header)
	if err != nil {
		return err
	}
	path := s.chunkPath(l.ref, c) + partSuffix
	file, err := s.openFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, s.done(file)); err != nil {
		_ = os.Remove(path) // it may be in the way of others on a full disk
		return err
	}
	s.kept.Add(int64(len(content)))
	return nil
}

// describe reads the heads of records that are known to be good.
func describe(records []byte, before held) chunkHeader {
	h := chunkHeader{Before: before, After: before}
	for len(records) > 0 {
		end := bytes.IndexByte(records, '\n')
		if end < 0 {
			break
		}
		r, text, ok := parseHead(records[:end])
		records = records[end+1:]
		h.Complete = false
		if !ok {
			continue
		}
		if r.visible() {
			h.After.reach(r)
			h.Last = max(h.Last, r.nanos)
			h.Entries++
		} else if whole, ok := completed(text); ok {
			h.After, h.Complete = whole, true
		}
	}
	return h
}
