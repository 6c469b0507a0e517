package cm

import (
	"context"
	"errors"
	"sync"
)

// A Task is one call of an async export, from the call to the end of its body. Its context ends with it, or when the
// caller cancels the call; every operation that was begun under the context ends then too.
type Task struct {
	context.Context
	cancel context.CancelFunc

	id         uint32                 // its context slot on the host's side
	set        uint32                 // its waitable set, 0 until it first waits
	waits      map[uint32]chan uint32 // by waitable, the goroutine that waits for its event
	bell       uint32                 // see bell.go; 0 when not rung
	give       func()                 // calls task.return; set by Return, called by settle
	resolved   bool                   // task.return or task.cancel was called
	cancelling bool                   // the caller asked to cancel
	over       bool                   // the body has returned

	previous, next *Task // the live tasks, oldest first
}

// mu guards all of the package's state, since goroutines switch wherever one allocates. It is never held while a
// goroutine is blocked, and the host never calls in while it is held, but for cabi_realloc, which does not take it.
var mu sync.Mutex

var (
	tasks          = map[uint32]*Task{}
	lastID         uint32
	oldest, newest *Task
)

type taskKey struct{}

// Start begins a task for the call of an export, and returns what the export has to return. The body must call
// Return, at its end or before, unless it fails. An error is a trap, unless the call was cancelled.
func Start(body func(t *Task) error) int32 {
	t := &Task{waits: map[uint32]chan uint32{}}
	t.Context, t.cancel = context.WithCancel(context.WithValue(context.Background(), taskKey{}, t))
	mu.Lock()
	t.enlist()
	mu.Unlock()
	contextSet(t.id)
	go func() { t.end(body(t)) }()
	return t.drive()
}

// Resume handles an event, and returns what the callback has to return: it is the body of every callback.
func Resume(event, handle, payload uint32) int32 {
	mu.Lock()
	t := tasks[contextGet()]
	switch {
	case event == eventNone:
	case event == eventTaskCancelled:
		t.cancelling = true
	case event == eventSubtask && payload < subtaskReturned: // it has only started
	case event == eventSubtask && timer.fired(handle):
	case event == eventStreamRead && handle == t.bell:
		t.silence()
	default:
		t.deliver(handle, payload)
	}
	mu.Unlock()
	if event == eventTaskCancelled {
		t.cancel()
	}
	return t.drive()
}

// Return gives the task's result. The function calls task.return, whose memory must stay as it is until the function
// has returned; it is called when all goroutines are blocked. The body may go on, to write to a stream for example.
func (t *Task) Return(give func()) {
	mu.Lock()
	defer mu.Unlock()
	t.give = give
	t.needEntry()
}

// end is where the goroutine of the body ends.
func (t *Task) end(err error) {
	mu.Lock()
	defer mu.Unlock()
	if err == nil && t.give == nil && !t.resolved {
		err = errors.New("cm: the body of an export has ended without a result")
	}
	if err != nil && !t.resolved && !t.cancelling {
		panic(err)
	}
	t.over = true
	t.cancel()
	t.needEntry()
}

// drive runs all goroutines for as long as they can, and returns what the task waits for.
func (t *Task) drive() int32 {
	runUntilIdle()
	mu.Lock()
	defer mu.Unlock()
	t.settle()
	ringBells(t)

	if t.over && len(t.waits) == 0 {
		t.leave()
		if !timer.arm() { // a timer of another task is due
			oldest.ring()
		}
		return codeExit
	}
	if !timer.arm() {
		return codeYield
	}
	return int32(codeWait | t.waitableSet()<<4)
}

// settle gives the result, or acknowledges a cancellation. A body that takes no notice of its context does not keep
// a caller waiting who has cancelled: it ends in its own time, and what it returns is dropped.
func (t *Task) settle() {
	switch {
	case t.resolved:
	case t.give != nil:
		t.resolved = true
		t.give()
	case t.cancelling:
		t.resolved = true
		taskCancel()
	}
	if t.resolved {
		t.give = nil
	}
}

var idle = make(chan struct{})

func init() {
	// The scheduler calls this on its own stack, where nothing may block.
	wasiOnIdle(func() bool {
		select {
		case idle <- struct{}{}:
			return true
		default:
			return false
		}
	})
}

// runUntilIdle parks the goroutine that the host called on. All others run until none can go on.
func runUntilIdle() { <-idle }

// await blocks the calling goroutine until the waitable has an event, and returns its payload. When the context ends
// before, the caller has to cancel what it waits for, and the waitable is in no set.
func (t *Task) await(ctx context.Context, waitable uint32) (payload uint32, err error) {
	arrived := make(chan uint32, 1)
	mu.Lock()
	t.waits[waitable] = arrived
	waitableJoin(waitable, t.waitableSet())
	mu.Unlock()
	select {
	case payload = <-arrived:
		return payload, nil
	case <-ctx.Done():
	}
	mu.Lock()
	defer mu.Unlock()
	select { // both may have happened
	case payload = <-arrived:
		return payload, nil
	default:
	}
	delete(t.waits, waitable)
	waitableJoin(waitable, 0)
	return 0, context.Cause(ctx)
}

// deliver hands an event to the goroutine that waits for it.
func (t *Task) deliver(waitable, payload uint32) {
	arrived := t.waits[waitable]
	delete(t.waits, waitable)
	waitableJoin(waitable, 0)
	arrived <- payload // it has room: this never blocks
}

// Call calls an async import and blocks the goroutine until it has returned. begin makes the call and returns its
// status; the memory of its arguments and its result must stay as it is until Call returns. When the context ends, the
// import is cancelled, and once it has ended the error is the context's, unless it has returned a result after all.
func Call(ctx context.Context, begin func() (status uint32)) error {
	t, err := taskOf(ctx)
	if err != nil {
		return err
	}
	status := begin()
	if status&15 == subtaskReturned {
		return nil
	}
	subtask := status >> 4
	if _, err = t.await(ctx, subtask); err != nil {
		// Not in the synchronous form: no other task could be entered until the import has ended, and a cancellation
		// that comes to one meanwhile is only delivered after its next event, however late.
		state := beginSubtaskCancel(subtask)
		if state == blocked {
			state, _ = t.await(context.Background(), subtask)
		}
		if state == subtaskReturned {
			err = nil
		}
	}
	subtaskDrop(subtask)
	return err
}

// taskOf is the task that the context belongs to. The error says that the context has ended.
func taskOf(ctx context.Context) (*Task, error) {
	t, ok := ctx.Value(taskKey{}).(*Task)
	if !ok {
		panic("cm: this context comes from no task")
	}
	mu.Lock()
	gone := t.over && len(t.waits) == 0
	mu.Unlock()
	if gone {
		return nil, context.Canceled // a goroutine has outlived its task under a context of its own
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return t, nil
}

func (t *Task) waitableSet() uint32 {
	if t.set == 0 {
		t.set = waitableSetNew()
	}
	return t.set
}

func (t *Task) enlist() {
	lastID++
	t.id = lastID
	tasks[t.id] = t
	t.previous = newest
	if newest == nil {
		oldest = t
	} else {
		newest.next = t
	}
	newest = t
}

// leave frees what the host holds for the task. It makes no entry any more.
func (t *Task) leave() {
	delete(tasks, t.id)
	if t.previous == nil {
		oldest = t.next
	} else {
		t.previous.next = t.next
	}
	if t.next == nil {
		newest = t.previous
	} else {
		t.next.previous = t.previous
	}
	if t.bell != 0 { // it came here for another event, and the bell's was not delivered
		waitableJoin(t.bell, 0)
		ByteStream.CancelRead(t.bell)
		t.silence()
	}
	timer.leave(t)
	if t.set != 0 {
		waitableSetDrop(t.set)
	}
}
