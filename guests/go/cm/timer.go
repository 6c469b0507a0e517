package cm

// The runtime keeps one heap of timers for all goroutines: those of time.Sleep, time.After, context.WithTimeout. While
// tasks live, its earliest one is armed as one sleep of the host, in the waitable set of one of the tasks. Whichever
// task gets the event, the runtime runs every timer that is due.

//go:wasmimport wasi:clocks/monotonic-clock@0.3.0 [async-lower]wait-for
//go:noescape
func waitFor(nanoseconds uint64) (status uint32)

type hostTimer struct {
	subtask  uint32 // the host's sleep, 0 while none is armed
	deadline int64  // what it was armed for
	owner    *Task  // in whose waitable set it is
}

var timer hostTimer

// arm makes the armed sleep fit the runtime's earliest timer. It is false when that timer is due already.
func (h *hostTimer) arm() bool {
	deadline := wasiIdleDeadline()
	if h.subtask != 0 {
		// One that fires too early is no harm, and cheaper than to cancel and arm another.
		if deadline != 0 && h.deadline <= deadline && oldest != nil {
			return true
		}
		h.stop()
	}
	if deadline == 0 || oldest == nil {
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
	h.subtask, h.deadline = status>>4, deadline
	h.join(oldest)
	return true
}

func (h *hostTimer) join(owner *Task) {
	h.owner = owner
	waitableJoin(h.subtask, owner.waitableSet())
}

// leave moves the timer out of the waitable set of a task that ends.
func (h *hostTimer) leave(t *Task) {
	switch {
	case h.subtask == 0 || h.owner != t:
	case oldest != nil:
		h.join(oldest)
	default:
		h.stop()
	}
}

func (h *hostTimer) stop() {
	waitableJoin(h.subtask, 0)
	subtaskCancel(h.subtask)
	h.fired()
}

// fired drops the sleep, which has ended.
func (h *hostTimer) fired() {
	subtaskDrop(h.subtask)
	*h = hostTimer{}
}
