package main

import (
	"unsafe"

	"guests/go/cm"
)

// What is given pointers is not go:noescape: they must lead to the heap, which does not move, because the host uses
// some of them after the call.

//go:wasmimport wasi:http/types@0.3.0 [static]fields.from-list
func fieldsFromList(p unsafe.Pointer, n uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.3.0 [method]fields.copy-all
func fieldsCopyAll(fields uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.3.0 [resource-drop]fields
//go:noescape
func fieldsDrop(fields uint32)

//go:wasmimport wasi:http/types@0.3.0 [method]request.get-path-with-query
func requestGetPath(request uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.3.0 [method]request.get-headers
//go:noescape
func requestGetHeaders(request uint32) (fields uint32)

//go:wasmimport wasi:http/types@0.3.0 [static]request.consume-body
func requestConsumeBody(request, handled uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.3.0 [resource-drop]request
//go:noescape
func requestDrop(request uint32)

//go:wasmimport wasi:http/types@0.3.0 [static]request.new
func requestNew(headers, hasBody, body, trailers, hasOptions, options uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.3.0 [method]request.set-scheme
func requestSetScheme(request, isGiven, scheme uint32, other unsafe.Pointer, otherLength uint32) (isError uint32)

//go:wasmimport wasi:http/types@0.3.0 [method]request.set-authority
func requestSetAuthority(request, isGiven uint32, p unsafe.Pointer, n uint32) (isError uint32)

//go:wasmimport wasi:http/types@0.3.0 [static]response.new
func responseNew(headers, hasBody, body, trailers uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/types@0.3.0 [method]response.set-status-code
//go:noescape
func responseSetStatus(response, status uint32) (isError uint32)

//go:wasmimport wasi:http/types@0.3.0 [static]response.consume-body
func responseConsumeBody(response, handled uint32, result unsafe.Pointer)

//go:wasmimport wasi:http/client@0.3.0 [async-lower]send
func clientSend(request uint32, result unsafe.Pointer) (status uint32)

// How the handling of a body went: future<result<_, error-code>>

//go:wasmimport wasi:http/types@0.3.0 [future-new-0][static]request.consume-body
//go:noescape
func outcomeNew() (ends uint64)

//go:wasmimport wasi:http/types@0.3.0 [async-lower][future-write-0][static]request.consume-body
func outcomeWrite(writable uint32, p unsafe.Pointer) (result uint32)

//go:wasmimport wasi:http/types@0.3.0 [future-cancel-write-0][static]request.consume-body
//go:noescape
func outcomeCancelWrite(writable uint32) (result uint32)

//go:wasmimport wasi:http/types@0.3.0 [future-drop-writable-0][static]request.consume-body
//go:noescape
func outcomeDropWritable(writable uint32)

//go:wasmimport wasi:http/types@0.3.0 [future-drop-readable-2][static]response.new
//go:noescape
func outcomeDropReadable(readable uint32)

// Trailers: future<result<option<trailers>, error-code>>

//go:wasmimport wasi:http/types@0.3.0 [future-new-1][static]response.new
//go:noescape
func trailersNew() (ends uint64)

//go:wasmimport wasi:http/types@0.3.0 [async-lower][future-write-1][static]response.new
func trailersWrite(writable uint32, p unsafe.Pointer) (result uint32)

//go:wasmimport wasi:http/types@0.3.0 [future-cancel-write-1][static]response.new
//go:noescape
func trailersCancelWrite(writable uint32) (result uint32)

//go:wasmimport wasi:http/types@0.3.0 [future-drop-writable-1][static]response.new
//go:noescape
func trailersDropWritable(writable uint32)

//go:wasmimport wasi:http/types@0.3.0 [future-drop-readable-2][static]request.consume-body
//go:noescape
func trailersDropReadable(readable uint32)

// Bodies: stream<u8>

//go:wasmimport wasi:http/types@0.3.0 [stream-new-0][static]response.new
//go:noescape
func bodyNew() (ends uint64)

//go:wasmimport wasi:http/types@0.3.0 [async-lower][stream-read-0][static]response.new
func bodyRead(readable uint32, p unsafe.Pointer, n uint32) (result uint32)

//go:wasmimport wasi:http/types@0.3.0 [async-lower][stream-write-0][static]response.new
func bodyWrite(writable uint32, p unsafe.Pointer, n uint32) (result uint32)

//go:wasmimport wasi:http/types@0.3.0 [stream-cancel-read-0][static]response.new
//go:noescape
func bodyCancelRead(readable uint32) (result uint32)

//go:wasmimport wasi:http/types@0.3.0 [stream-cancel-write-0][static]response.new
//go:noescape
func bodyCancelWrite(writable uint32) (result uint32)

//go:wasmimport wasi:http/types@0.3.0 [stream-drop-readable-0][static]response.new
//go:noescape
func bodyDropReadable(readable uint32)

//go:wasmimport wasi:http/types@0.3.0 [stream-drop-writable-0][static]response.new
//go:noescape
func bodyDropWritable(writable uint32)

func init() {
	cm.ByteStream = cm.ByteStreamBuiltins{
		New: bodyNew, Read: bodyRead, Write: bodyWrite, CancelRead: bodyCancelRead, CancelWrite: bodyCancelWrite,
		DropReadable: bodyDropReadable, DropWritable: bodyDropWritable,
	}
}

// The flat form of result<response, error-code>.
//
//go:wasmimport [export]wasi:http/handler@0.3.0 [task-return]handle
//go:noescape
func returnHandle(isError, response, _ uint32, _ uint64, _, _, _, _ uint32)

//go:wasmexport [async-lift]wasi:http/handler@0.3.0#handle
func exportHandle(request uint32) int32 {
	return cm.Start(func(t *cm.Task) error { return handle(t, request) })
}

//go:wasmexport [callback][async-lift]wasi:http/handler@0.3.0#handle
func callbackHandle(event, handle, payload uint32) int32 { return cm.Resume(event, handle, payload) }
