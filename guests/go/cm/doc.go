// Package cm joins goroutines and the component model's concurrency.
//
// Each call of an async export is a Task, and its body runs on a goroutine. The host enters the program in two ways
// only: by calling an export, or by bringing an event to the task that waits for it. Either way the entry runs all
// goroutines until none can go on (the runtime's wasiOnIdle says when), and leaves by telling the host which events
// the task waits for. So any number of calls are in progress at once, on one thread, with no stack of their own
// in between, and a goroutine is blocked by an import, a stream or time.Sleep like by a channel.
//
// Three rules of the component model shape the code:
//
//   - A result is given, and a cancellation acknowledged, only in an entry of the task that it belongs to; but a
//     goroutine of one task can run in an entry of another. See Task.drive and bell.go.
//   - The host may call cabi_realloc while the program may call no import. See memory.go.
//   - An operation in its synchronous form must not belong to a waitable set. A waitable is therefore in a set only
//     while a goroutine waits for it.
//
// A program that uses this package is built with the overlay in ../overlay, and its world imports
// wasi:clocks/monotonic-clock@0.3.0 and names stream<u8> in one function at least.
package cm
