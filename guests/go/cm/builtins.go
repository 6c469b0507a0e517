package cm

import _ "unsafe" // for go:linkname

// The component model's built-ins, by the names that wit-component knows them by.

//go:wasmimport $root [waitable-set-new]
//go:noescape
func waitableSetNew() (set uint32)

//go:wasmimport $root [waitable-set-drop]
//go:noescape
func waitableSetDrop(set uint32)

//go:wasmimport $root [waitable-join]
//go:noescape
func waitableJoin(waitable, set uint32)

//go:wasmimport $root [context-get-0]
//go:noescape
func contextGet() uint32

//go:wasmimport $root [context-set-0]
//go:noescape
func contextSet(value uint32)

//go:wasmimport $root [subtask-drop]
//go:noescape
func subtaskDrop(subtask uint32)

//go:wasmimport $root [subtask-cancel]
//go:noescape
func subtaskCancel(subtask uint32) (state uint32)

//go:wasmimport $root [async-lower][subtask-cancel]
//go:noescape
func beginSubtaskCancel(subtask uint32) (state uint32)

//go:wasmimport [export]$root [task-cancel]
//go:noescape
func taskCancel()

// What the overlay adds to the runtime.

// wasiOnIdle sets the function that the scheduler calls when no goroutine can run. It returns whether one can now.
//
//go:linkname wasiOnIdle runtime.wasiOnIdle
func wasiOnIdle(callback func() bool)

// wasiIdleDeadline is the time at which the runtime's earliest timer fires, 0 without one, as of the last idleness.
//
//go:linkname wasiIdleDeadline runtime.wasiIdleDeadline
func wasiIdleDeadline() int64

//go:linkname wasiNanotime runtime.wasiNanotime
func wasiNanotime() int64

//go:linkname wasiSbrk runtime.wasiSbrk
func wasiSbrk(size uintptr) uintptr

// What a callback returns: exit, or one of the others with a waitable set in the upper 28 bits.
const (
	codeExit  = 0
	codeYield = 1
	codeWait  = 2
)

const (
	eventNone          = 0
	eventSubtask       = 1
	eventStreamRead    = 2
	eventTaskCancelled = 6 // those between are the other ends of streams and futures
)

// The state of a subtask: in the low four bits of an async call's status, in an event, and from subtask.cancel.
const subtaskReturned = 2

// The result of a copy has the number of elements in its upper 28 bits, and one of these below.
const (
	copyDropped   = 1
	copyCancelled = 2
)

// blocked is what an operation returns whose end comes as an event.
const blocked = 0xffffffff
