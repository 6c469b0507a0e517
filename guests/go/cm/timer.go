package cm

// The runtime keeps one heap of timers for all goroutines: those of time.Sleep, time.After, context.WithTimeout. While
// tasks live, its earliest one is armed as a sleep of the host, in the waitable set of one of the tasks. Whichever task
// gets the event, the runtime runs every timer that is due.
//
// A sleep that turns out to be needless is left alone: it wakes one task for nothing in the end, which is cheaper than
// to cancel it. So there can be some, each earlier than the one before.

//go:wasmimport wasi:clocks/monotonic-clock@0.3.0 [async-lower]wait-for
//go:noescape
func waitFor(nanoseconds uint64) (status uint32)

type sleep struct {
	subtask  uint32
	deadline int64
}

type hostTimer struct {
	sleeps []sleep // the earliest is the last
	owner  *Task   // in whose waitable set they are
}

var timer hostTimer

// arm sees to it that a sleep ends in time for the runtime's earliest timer. It is false when that is due already.
func (h *hostTimer) arm() bool {
	deadline := wasiIdleDeadline()
	if deadline == 0 || oldest == nil {
		return true
	}
	if n := len(h.sleeps); n > 0 && h.sleeps[n-1].deadline <= deadline {
		return true
	}
	left := deadline - wasiNanotime()
	if left <= 0 {
		return false
	}
	status := waitFor(uint64(left))
	if status&15 == subtaskReturned {
		return false
	}
	if h.owner == nil {
		h.owner = oldest
	}
	h.sleeps = append(h.sleeps, sleep{status >> 4, deadline})
	waitableJoin(status>>4, h.owner.waitableSet())
	return true
}

// fired drops a sleep that has ended, and returns whether the subtask is one.
func (h *hostTimer) fired(subtask uint32) bool {
	for i := len(h.sleeps) - 1; i >= 0; i-- {
		if h.sleeps[i].subtask == subtask {
			h.sleeps = append(h.sleeps[:i], h.sleeps[i+1:]...)
			subtaskDrop(subtask)
			return true
		}
	}
	return false
}

// leave moves the sleeps out of the waitable set of a task that ends.
func (h *hostTimer) leave(t *Task) {
	if h.owner != t {
		return
	}
	h.owner = oldest
	for _, s := range h.sleeps {
		if oldest != nil {
			waitableJoin(s.subtask, oldest.waitableSet())
			continue
		}
		waitableJoin(s.subtask, 0)
		subtaskCancel(s.subtask) // it waits until the sleep has ended, and no other task is there to be kept waiting
		subtaskDrop(s.subtask)
	}
	if oldest == nil {
		h.sleeps = h.sleeps[:0]
	}
}
