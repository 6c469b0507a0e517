package cm

import (
	"math/bits"
	"strings"
	"unsafe"
)

// The host calls cabi_realloc to make room for a string or a list, and at that time the program may call no import.
// Go's heap can't serve: an allocation may begin a garbage collection, and that asks for the time. So the rooms are
// blocks of memory outside of Go's heap, in sizes of powers of two, each with its size class before it and a list
// of the free ones per class. The bindings copy what is in a block and free it at once. Nothing here allocates from
// Go's heap or blocks while it changes the lists, so no other goroutine comes between.

const (
	blockHeader  = 8
	smallestBits = 5  // blocks of 32 bytes
	slabBits     = 16 // classes up to here are cut from slabs of 64 KiB
)

var (
	freeBlocks     [32]uintptr // by class, linked through their first word
	slab, slabLeft uintptr
)

func word(at uintptr) *uint32 { return (*uint32)(unsafe.Pointer(at)) }

//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, oldSize, align, size uint32) uint32 {
	from := uintptr(old)
	if size == 0 {
		freeBlock(from, oldSize)
		return uint32(align)
	}
	if from != 0 && oldSize != 0 && class(size) == *word(from - blockHeader) {
		return uint32(from)
	}
	to := allocateBlock(size)
	if from != 0 {
		n := min(oldSize, size)
		copy(unsafe.Slice((*byte)(unsafe.Pointer(to)), n), unsafe.Slice((*byte)(old), n))
		freeBlock(from, oldSize)
	}
	return uint32(to)
}

func class(size uint32) uint32 {
	return max(smallestBits, uint32(bits.Len64(uint64(size)+blockHeader-1)))
}

func allocateBlock(size uint32) uintptr {
	c := class(size)
	if c >= uint32(len(freeBlocks)) {
		panic("cm: out of memory")
	}
	block := freeBlocks[c]
	if block != 0 {
		freeBlocks[c] = uintptr(*word(block))
		return block
	}
	n := uintptr(1) << c
	if c >= slabBits {
		block = pages(n)
	} else {
		if slabLeft < n { // the rest of the slab is lost: less than one block of this class
			slab, slabLeft = pages(1<<slabBits), 1<<slabBits
		}
		block = slab
		slab += n
		slabLeft -= n
	}
	*word(block) = c
	return block + blockHeader
}

func freeBlock(block uintptr, size uint32) {
	if block == 0 || size == 0 { // an empty value has no block
		return
	}
	c := *word(block - blockHeader)
	*word(block) = uint32(freeBlocks[c])
	freeBlocks[c] = block
}

func pages(n uintptr) uintptr {
	p := wasiSbrk(n)
	if p == 0 {
		panic("cm: out of memory")
	}
	return p
}

// A View is a string or a list as it lies in memory: a pointer and a number of elements.
type View struct{ Pointer, Length uint32 }

// String copies a string that the host has lowered, and frees its block.
func (v View) String() string {
	block := uintptr(v.Pointer)
	s := strings.Clone(unsafe.String((*byte)(unsafe.Pointer(block)), v.Length))
	freeBlock(block, v.Length)
	return s
}

// Strings copies a list of strings that the host has lowered, and frees its blocks.
func (v View) Strings() []string {
	block := uintptr(v.Pointer)
	list := make([]string, v.Length)
	for i, element := range unsafe.Slice((*View)(unsafe.Pointer(block)), v.Length) {
		list[i] = element.String()
	}
	freeBlock(block, v.Length)
	return list
}

// ViewOf is for passing a string to the host. It does not keep the string alive.
func ViewOf(s string) View {
	return View{uint32(uintptr(unsafe.Pointer(unsafe.StringData(s)))), uint32(len(s))}
}

// ViewsOf is for passing a list of strings to the host. It does not keep the strings alive.
func ViewsOf(list []string) []View {
	views := make([]View, len(list))
	for i, s := range list {
		views[i] = ViewOf(s)
	}
	return views
}
