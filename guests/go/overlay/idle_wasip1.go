//go:build wasip1

// Added to the package runtime by the build: what Go's proposed wasiOnIdle needs, without a change in GOROOT. The
// runtime's own beforeIdle, which does nothing, is taken out of lock_wasip1.go.

package runtime

import _ "unsafe" // for go:linkname

var onIdle func() bool

// idleDeadline is the nanotime() at which the earliest timer fires, 0 without one, as of the last call of onIdle.
var idleDeadline int64

//go:linkname wasiOnIdle
func wasiOnIdle(callback func() bool) { onIdle = callback }

//go:linkname wasiIdleDeadline
func wasiIdleDeadline() int64 { return idleDeadline }

//go:linkname wasiNanotime
func wasiNanotime() int64 { return nanotime() }

// wasiSbrk takes memory that is not part of the heap. The scheduler is cooperative and there is one thread, so nothing
// else is in the middle of doing the same.
//
//go:linkname wasiSbrk
func wasiSbrk(size uintptr) uintptr { return uintptr(sbrk(size)) }

// beforeIdle is called by the scheduler, on its own stack, when no goroutine can run.
func beforeIdle(now, pollUntil int64) (*g, bool) {
	if onIdle == nil || (netpollinited() && netpollAnyWaiters()) {
		return nil, false
	}
	idleDeadline = pollUntil
	return nil, onIdle()
}
