package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"guests/go/cm"
)

//go:wasmimport wasi:cli/environment@0.3.0 get-arguments
func getArguments(result unsafe.Pointer)

//go:wasmimport wasi:cli/stdin@0.3.0 read-via-stream
func readViaStream(ends unsafe.Pointer)

//go:wasmimport wasi:cli/stdin@0.3.0 [future-drop-readable-1]read-via-stream
//go:noescape
func stdinDropOutcome(readable uint32)

//go:wasmimport wasi:cli/stdout@0.3.0 write-via-stream
//go:noescape
func writeViaStream(readable uint32) (future uint32)

//go:wasmimport wasi:cli/stdout@0.3.0 [stream-new-0]write-via-stream
//go:noescape
func streamNew() uint64

//go:wasmimport wasi:cli/stdout@0.3.0 [async-lower][stream-read-0]write-via-stream
func streamRead(readable uint32, p unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi:cli/stdout@0.3.0 [async-lower][stream-write-0]write-via-stream
func streamWrite(writable uint32, p unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi:cli/stdout@0.3.0 [stream-cancel-read-0]write-via-stream
//go:noescape
func streamCancelRead(readable uint32) uint32

//go:wasmimport wasi:cli/stdout@0.3.0 [stream-cancel-write-0]write-via-stream
//go:noescape
func streamCancelWrite(writable uint32) uint32

//go:wasmimport wasi:cli/stdout@0.3.0 [stream-drop-readable-0]write-via-stream
//go:noescape
func streamDropReadable(readable uint32)

//go:wasmimport wasi:cli/stdout@0.3.0 [stream-drop-writable-0]write-via-stream
//go:noescape
func streamDropWritable(writable uint32)

//go:wasmimport wasi:cli/stdout@0.3.0 [async-lower][future-read-1]write-via-stream
func futureRead(readable uint32, result unsafe.Pointer) uint32

//go:wasmimport wasi:cli/stdout@0.3.0 [future-cancel-read-1]write-via-stream
//go:noescape
func futureCancelRead(readable uint32) uint32

//go:wasmimport wasi:cli/stdout@0.3.0 [future-drop-readable-1]write-via-stream
//go:noescape
func futureDropReadable(readable uint32)

func init() {
	cm.ByteStream = cm.ByteStreamBuiltins{
		New: streamNew, Read: streamRead, Write: streamWrite,
		CancelRead: streamCancelRead, CancelWrite: streamCancelWrite,
		DropReadable: streamDropReadable, DropWritable: streamDropWritable,
	}
}

// openInput begins to read standard input. How it ended, which a future tells, is not looked at.
func openInput(ctx context.Context) io.ReadCloser {
	ends := new([2]uint32)
	readViaStream(unsafe.Pointer(ends))
	stdinDropOutcome(ends[1])
	return cm.NewReader(ctx, ends[0])
}

// output is standard output: a stream to the host, and the future that tells how its end went.
type output struct {
	*cm.Writer
	ctx     context.Context
	written uint32
}

func openOutput(ctx context.Context) output {
	writer, readable := cm.NewStream(ctx)
	return output{writer, ctx, writeViaStream(readable)}
}

// Close ends the stream and waits until the host has written all of it.
func (o output) Close() error {
	o.Writer.Close()
	defer futureDropReadable(o.written)
	result := new([2]byte) // result<_, error-code>: the case, and the error's number
	_, err := cm.Await(o.ctx, o.written, futureRead(o.written, unsafe.Pointer(result)), futureCancelRead)
	if err == nil && result[0] != 0 {
		err = errors.New([]string{"input or output failed", "illegal byte sequence", "broken pipe"}[result[1]])
	}
	return err
}

//go:wasmimport [export]wasi:cli/run@0.3.0 [task-return]run
//go:noescape
func returnRun(isError uint32)

//go:wasmexport [async-lift]wasi:cli/run@0.3.0#run
func exportRun() int32 {
	return cm.Start(func(t *cm.Task) error {
		args := new(cm.View)
		getArguments(unsafe.Pointer(args))
		stdin, stdout := openInput(t), openOutput(t)
		err := errors.Join(Run(args.Strings(), stdin, stdout), stdin.Close(), stdout.Close())
		isError := uint32(0)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			isError = 1
		}
		t.Return(func() { returnRun(isError) })
		return nil
	})
}

//go:wasmexport [callback][async-lift]wasi:cli/run@0.3.0#run
func callbackRun(event, handle, payload uint32) int32 { return cm.Resume(event, handle, payload) }
