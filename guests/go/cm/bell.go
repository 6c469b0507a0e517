package cm

import "unsafe"

// When a goroutine of one task ends its task's body in an entry of another task, the first task needs an entry of its
// own to give its result, but none of its events may ever come. So the entry in progress rings its bell: it makes a
// stream, joins its readable end to that task's waitable set, begins a read, and drops the writable end. The read
// ends at once, and its event enters the task.

var (
	needingEntry []*Task
	bellByte     byte // the read names it as its buffer; nothing is ever written there
)

// needEntry notes that the task has something to do in an entry of its own.
func (t *Task) needEntry() { needingEntry = append(needingEntry, t) }

// ringBells rings for all that need an entry but the one whose entry this is.
func ringBells(entered *Task) {
	for _, t := range needingEntry {
		if t != entered {
			t.ring()
		}
	}
	clear(needingEntry)
	needingEntry = needingEntry[:0]
}

func (t *Task) ring() {
	if t.bell != 0 {
		return
	}
	readable, writable := newByteStream()
	t.bell = readable
	waitableJoin(readable, t.waitableSet())
	ByteStream.Read(readable, unsafe.Pointer(&bellByte), 1)
	ByteStream.DropWritable(writable)
}

// silence ends the ringing once the read has ended.
func (t *Task) silence() {
	waitableJoin(t.bell, 0)
	ByteStream.DropReadable(t.bell)
	t.bell = 0
}
