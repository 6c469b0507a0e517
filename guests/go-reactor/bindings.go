package main

import (
	"context"
	"runtime"
	"unsafe"

	"guests/go/cm"
)

// Imports. Where one is given pointers, it is not go:noescape: what it is given must be on the heap, which does not
// move, because the host uses it after the call.

//go:wasmimport $root [async-lower]wait
//go:noescape
func importWait(ms uint64) (status uint32)

//go:wasmimport $root [async-lower]lookup
func importLookup(name unsafe.Pointer, length uint32, result unsafe.Pointer) (status uint32)

// Wait returns after ms milliseconds.
func Wait(ctx context.Context, ms uint64) error {
	return cm.Call(ctx, func() uint32 { return importWait(ms) })
}

// Lookup asks the host for what it knows by a name.
func Lookup(ctx context.Context, name string) (string, error) {
	result := new(cm.View)
	err := cm.Call(ctx, func() uint32 {
		return importLookup(unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)), unsafe.Pointer(result))
	})
	runtime.KeepAlive(name)
	if err != nil {
		return "", err
	}
	return result.String(), nil
}

//go:wasmimport [export]$root [stream-new-0]upper
//go:noescape
func streamNew() uint64

//go:wasmimport [export]$root [async-lower][stream-read-0]upper
func streamRead(readable uint32, p unsafe.Pointer, n uint32) uint32

//go:wasmimport [export]$root [async-lower][stream-write-0]upper
func streamWrite(writable uint32, p unsafe.Pointer, n uint32) uint32

//go:wasmimport [export]$root [stream-cancel-read-0]upper
//go:noescape
func streamCancelRead(readable uint32) uint32

//go:wasmimport [export]$root [stream-cancel-write-0]upper
//go:noescape
func streamCancelWrite(writable uint32) uint32

//go:wasmimport [export]$root [stream-drop-readable-0]upper
//go:noescape
func streamDropReadable(readable uint32)

//go:wasmimport [export]$root [stream-drop-writable-0]upper
//go:noescape
func streamDropWritable(writable uint32)

func init() {
	cm.ByteStream = cm.ByteStreamBuiltins{
		New: streamNew, Read: streamRead, Write: streamWrite,
		CancelRead: streamCancelRead, CancelWrite: streamCancelWrite,
		DropReadable: streamDropReadable, DropWritable: streamDropWritable,
	}
}

// Exports: for each, how its result is given, the function that the host calls, and its callback.

//go:wasmimport [export]$root [task-return]sleep-echo
//go:noescape
func returnSleepEcho(p unsafe.Pointer, n uint32)

//go:wasmexport [async-lift]sleep-echo
func exportSleepEcho(ms uint64, p, n uint32) int32 {
	s := cm.View{Pointer: p, Length: n}.String()
	return cm.Start(func(t *cm.Task) error {
		result, err := SleepEcho(t, ms, s)
		if err != nil {
			return err
		}
		t.Return(func() { returnSleepEcho(unsafe.Pointer(unsafe.StringData(result)), uint32(len(result))) })
		return nil
	})
}

//go:wasmexport [callback][async-lift]sleep-echo
func callbackSleepEcho(event, handle, payload uint32) int32 { return cm.Resume(event, handle, payload) }

//go:wasmimport [export]$root [task-return]plain-sleep
//go:noescape
func returnPlainSleep(nanoseconds uint64)

//go:wasmexport [async-lift]plain-sleep
func exportPlainSleep(ms uint64) int32 {
	return cm.Start(func(t *cm.Task) error {
		result, err := PlainSleep(t, ms)
		if err != nil {
			return err
		}
		t.Return(func() { returnPlainSleep(result) })
		return nil
	})
}

//go:wasmexport [callback][async-lift]plain-sleep
func callbackPlainSleep(event, handle, payload uint32) int32 {
	return cm.Resume(event, handle, payload)
}

//go:wasmimport [export]$root [task-return]fan-out
//go:noescape
func returnFanOut(p unsafe.Pointer, n uint32)

//go:wasmexport [async-lift]fan-out
func exportFanOut(p, n uint32) int32 {
	names := cm.View{Pointer: p, Length: n}.Strings()
	return cm.Start(func(t *cm.Task) error {
		result, err := FanOut(t, names)
		if err != nil {
			return err
		}
		t.Return(func() {
			views := cm.ViewsOf(result)
			returnFanOut(unsafe.Pointer(unsafe.SliceData(views)), uint32(len(views)))
			runtime.KeepAlive(result)
		})
		return nil
	})
}

//go:wasmexport [callback][async-lift]fan-out
func callbackFanOut(event, handle, payload uint32) int32 { return cm.Resume(event, handle, payload) }

//go:wasmimport [export]$root [task-return]upper
//go:noescape
func returnUpper(readable uint32)

//go:wasmexport [async-lift]upper
func exportUpper(data uint32) int32 {
	return cm.Start(func(t *cm.Task) error {
		in := cm.NewReader(t, data)
		defer in.Close()
		out, readable := cm.NewStream(t)
		defer out.Close()
		t.Return(func() { returnUpper(readable) })
		Upper(t, in, out) // who reads the result sees an error as its end
		return nil
	})
}

//go:wasmexport [callback][async-lift]upper
func callbackUpper(event, handle, payload uint32) int32 { return cm.Resume(event, handle, payload) }

//go:wasmimport [export]$root [task-return]checksum
//go:noescape
func returnChecksum(sum uint64)

//go:wasmexport [async-lift]checksum
func exportChecksum(data uint32) int32 {
	return cm.Start(func(t *cm.Task) error {
		in := cm.NewReader(t, data)
		defer in.Close()
		result, err := Checksum(t, in)
		if err != nil {
			return err
		}
		t.Return(func() { returnChecksum(result) })
		return nil
	})
}

//go:wasmexport [callback][async-lift]checksum
func callbackChecksum(event, handle, payload uint32) int32 { return cm.Resume(event, handle, payload) }

//go:wasmimport [export]$root [task-return]generate
//go:noescape
func returnGenerate(readable uint32)

//go:wasmexport [async-lift]generate
func exportGenerate(count uint64, piece uint32) int32 {
	return cm.Start(func(t *cm.Task) error {
		out, readable := cm.NewStream(t)
		defer out.Close()
		t.Return(func() { returnGenerate(readable) })
		Generate(t, count, piece, out)
		return nil
	})
}

//go:wasmexport [callback][async-lift]generate
func callbackGenerate(event, handle, payload uint32) int32 { return cm.Resume(event, handle, payload) }

//go:wasmimport [export]$root [task-return]spin
//go:noescape
func returnSpin(rounds uint64)

//go:wasmexport [async-lift]spin
func exportSpin(ms uint64) int32 {
	return cm.Start(func(t *cm.Task) error {
		result, err := Spin(t, ms)
		if err != nil {
			return err
		}
		t.Return(func() { returnSpin(result) })
		return nil
	})
}

//go:wasmexport [callback][async-lift]spin
func callbackSpin(event, handle, payload uint32) int32 { return cm.Resume(event, handle, payload) }

//go:wasmimport [export]$root [task-return]fail
//go:noescape
func returnFail()

//go:wasmexport [async-lift]fail
func exportFail(p, n uint32) int32 {
	message := cm.View{Pointer: p, Length: n}.String()
	return cm.Start(func(t *cm.Task) error {
		if err := Fail(t, message); err != nil {
			return err
		}
		t.Return(returnFail)
		return nil
	})
}

//go:wasmexport [callback][async-lift]fail
func callbackFail(event, handle, payload uint32) int32 { return cm.Resume(event, handle, payload) }
