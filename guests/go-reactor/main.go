// A Go program that a concurrent host calls into. This file is all that its author would write; bindings.go is what a
// bindings generator would. See world.wit for what each function does.
package main

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"sync"
	"time"
)

func SleepEcho(ctx context.Context, ms uint64, s string) (string, error) {
	var group sync.WaitGroup
	var failed [3]error
	for i := range failed {
		group.Go(func() { failed[i] = Wait(ctx, ms*uint64(i+1)) })
	}
	group.Wait()
	return "echo(" + s + ")", errors.Join(failed[:]...)
}

func PlainSleep(_ context.Context, ms uint64) (uint64, error) {
	start := time.Now()
	time.Sleep(time.Duration(ms) * time.Millisecond)
	return uint64(time.Since(start)), nil
}

func FanOut(ctx context.Context, names []string) ([]string, error) {
	var group sync.WaitGroup
	answers := make([]string, len(names))
	failed := make([]error, len(names))
	for i, name := range names {
		group.Go(func() { answers[i], failed[i] = Lookup(ctx, name) })
	}
	group.Wait()
	return answers, errors.Join(failed...)
}

func Upper(_ context.Context, in io.Reader, out io.Writer) error {
	piece := make([]byte, 64<<10)
	for {
		n, end := in.Read(piece)
		for i, b := range piece[:n] {
			if 'a' <= b && b <= 'z' {
				piece[i] = b - 'a' + 'A'
			}
		}
		if _, err := out.Write(piece[:n]); err != nil {
			return err
		}
		if end == io.EOF {
			return nil
		}
		if end != nil {
			return end
		}
	}
}

func Checksum(_ context.Context, in io.Reader) (uint64, error) {
	sum := crc32.NewIEEE()
	_, err := io.Copy(sum, in)
	return uint64(sum.Sum32()), err
}

func Generate(_ context.Context, count uint64, piece uint32, out io.Writer) error {
	if piece == 0 {
		piece = 64 << 10
	}
	size := uint64(min(piece, 1<<20))
	pattern := make([]byte, size+256)
	for i := range pattern {
		pattern[i] = byte(i)
	}
	for done := uint64(0); done < count; done += size {
		first := done % 256
		if _, err := out.Write(pattern[first : first+min(size, count-done)]); err != nil {
			return err
		}
	}
	return nil
}

// spinState keeps the compiler from leaving the computation out.
var spinState uint64 = 1

func Spin(_ context.Context, ms uint64) (uint64, error) {
	rounds := uint64(0)
	for start := time.Now(); uint64(time.Since(start).Milliseconds()) < ms; rounds++ {
		for range 100_000 {
			spinState = spinState*6364136223846793005 + 1442695040888963407
		}
	}
	return rounds, nil
}

func Fail(_ context.Context, message string) error {
	panic(message)
}

func main() {} // never called: the program is a library to its host
