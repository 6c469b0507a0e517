// A stock Go command: plain `go build`, made a WASI 0.2 component by the preview 1 adapter. Its time.Sleep blocks in
// wasi:io/poll, in the middle of its stack.
//
// Arguments, in any order: a duration to sleep ("250ms", 1s without one); "args" and "env" to print the arguments and
// the environment; "stdin" to copy standard input to standard output; "exit=N" to end with the status N, of which the
// adapter passes on whether it is 0. Or one of the verbs of verbs.go with its arguments.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		if verb, ok := verbs[os.Args[1]]; ok {
			if err := verb(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}

	pause := time.Second
	status := 0
	for _, arg := range os.Args[1:] {
		if n, ok := strings.CutPrefix(arg, "exit="); ok {
			var err error
			if status, err = strconv.Atoi(n); err != nil {
				fail(arg)
			}
			continue
		}
		switch arg {
		case "args":
			fmt.Printf("args: %q\n", os.Args[1:])
		case "env":
			for _, variable := range os.Environ() {
				fmt.Println("env:", variable)
			}
		case "stdin":
			if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		default:
			var err error
			if pause, err = time.ParseDuration(arg); err != nil {
				fail(arg)
			}
		}
	}

	fmt.Println("start")
	start := time.Now()
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() {
			time.Sleep(pause * time.Duration(3-i) / 3)
			fmt.Println("goroutine", i+1, "woke")
		})
	}
	group.Wait()
	fmt.Println("end, slept long enough:", time.Since(start) >= pause)
	os.Exit(status)
}

func fail(arg string) {
	fmt.Fprintf(os.Stderr, "%q: give a duration, args, env, stdin or exit=N\n", arg)
	os.Exit(2)
}
