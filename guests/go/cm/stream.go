package cm

import (
	"context"
	"io"
	"runtime"
	"unsafe"
)

// ByteStreamBuiltins are the built-ins of the type stream<u8>. wit-component names them by a function whose type has
// that type in it, so only the program's bindings can declare them; those of any one function do.
type ByteStreamBuiltins struct {
	New          func() (ends uint64)
	Read         func(readable uint32, p unsafe.Pointer, n uint32) (result uint32)
	Write        func(writable uint32, p unsafe.Pointer, n uint32) (result uint32)
	CancelRead   func(readable uint32) (result uint32)
	CancelWrite  func(writable uint32) (result uint32)
	DropReadable func(readable uint32)
	DropWritable func(writable uint32)
}

// ByteStream is to be set by the program's bindings in an init function.
var ByteStream ByteStreamBuiltins

func newByteStream() (readable, writable uint32) {
	ends := ByteStream.New()
	return uint32(ends), uint32(ends >> 32)
}

// A Reader is the readable end of a stream<u8>, as an io.ReadCloser. One goroutine at a time may use it.
type Reader struct {
	ctx   context.Context
	end   uint32
	ended bool
}

// NewReader takes over the readable end that the host has passed.
func NewReader(ctx context.Context, readable uint32) *Reader { return &Reader{ctx: ctx, end: readable} }

// Read blocks the goroutine until some bytes have come. It is io.EOF when the other end was dropped, and the context's
// error, maybe with some bytes, when the context ended before.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for !r.ended {
		n, result, err := copyBytes(r.ctx, r.end, p, ByteStream.Read, ByteStream.CancelRead)
		r.ended = result == copyDropped
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.EOF
}

// Close drops the end. A host that writes to the other end is told so.
func (r *Reader) Close() error {
	ByteStream.DropReadable(r.end)
	return nil
}

// A Writer is the writable end of a stream<u8>, as an io.WriteCloser. One goroutine at a time may use it.
type Writer struct {
	ctx     context.Context
	end     uint32
	dropped bool // the other end is gone; to write again would trap
}

// NewStream makes a stream. The readable end is for the host, as an argument or a result.
func NewStream(ctx context.Context) (w *Writer, readable uint32) {
	readable, writable := newByteStream()
	return &Writer{ctx: ctx, end: writable}, readable
}

// Write blocks the goroutine until all of p is copied. The error is io.ErrClosedPipe when the other end was dropped
// before, and the context's when the context ended before.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		if w.dropped {
			return written, io.ErrClosedPipe
		}
		n, result, err := copyBytes(w.ctx, w.end, p[written:], ByteStream.Write, ByteStream.CancelWrite)
		written += n
		w.dropped = result == copyDropped
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// Close drops the end, which ends the stream.
func (w *Writer) Close() error {
	ByteStream.DropWritable(w.end)
	return nil
}

// copyBytes makes one copy between p, which is not empty, and the other end, and returns how many bytes it has copied.
func copyBytes(
	ctx context.Context, end uint32, p []byte,
	begin func(uint32, unsafe.Pointer, uint32) uint32, cancel func(uint32) uint32,
) (n int, result uint32, err error) {
	t, err := taskOf(ctx)
	if err != nil {
		return 0, copyCancelled, err
	}
	packed := begin(end, unsafe.Pointer(&p[0]), uint32(min(len(p), 1<<28-1)))
	if packed == blocked {
		if packed, err = t.await(ctx, end); err != nil {
			packed = cancel(end)
		}
	}
	runtime.KeepAlive(p)
	return int(packed >> 4), packed & 15, err
}

// Await blocks the goroutine until an operation on a future has ended. result is what the operation returned, and it
// must be undone with cancel, the future's own built-in, when the context ends before.
func Await(ctx context.Context, future, result uint32, cancel func(uint32) uint32) (uint32, error) {
	if result != blocked {
		return result, nil
	}
	t, err := taskOf(ctx)
	if err == nil {
		if result, err = t.await(ctx, future); err == nil {
			return result, nil
		}
	}
	return cancel(future), err
}
