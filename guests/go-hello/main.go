// A WASI 0.3 command: goroutines that sleep and print, all at once, on a host with one thread.
//
// An argument gives the number of goroutines, 3 without one. It ends within a second, whatever the number. With a second
// argument, "echo", it also answers each line of standard input meanwhile, and goes on until that ends.
package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
)

const (
	rounds   = 3
	longest  = 250 * time.Millisecond // the longest sleep of one round
	greatest = 10_000
)

func Run(args []string, stdin io.Reader, stdout io.Writer) error {
	count := 3
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 1 || n > greatest {
			return fmt.Errorf("%q: give a number of goroutines, 1 to %d", args[1], greatest)
		}
		count = n
	}

	start := time.Now()
	var printing sync.Mutex
	say := func(format string, values ...any) {
		printing.Lock()
		defer printing.Unlock()
		elapsed := time.Since(start).Round(time.Millisecond)
		fmt.Fprintf(stdout, "%6s  %s\n", elapsed, fmt.Sprintf(format, values...))
	}

	var group sync.WaitGroup
	for i := range count {
		group.Go(func() {
			pause := longest * time.Duration(i+1) / time.Duration(count)
			for round := range rounds {
				time.Sleep(pause)
				say("goroutine %d: hello %d of %d", i+1, round+1, rounds)
			}
		})
	}
	say("%d goroutines are asleep", count)
	if len(args) > 2 && args[2] == "echo" {
		group.Go(func() {
			for lines := bufio.NewScanner(stdin); lines.Scan(); {
				say("you say %s", lines.Text())
			}
		})
	}
	group.Wait()
	say("all done")
	return nil
}

func main() {} // never called: the host calls wasi:cli/run
