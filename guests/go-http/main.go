// An HTTP service of WASI 0.3 in Go: each request has a goroutine of its own, and many are in one instance at once. This
// file is all that its author would write; bindings.go and http.go are what a bindings generator and a library would. See
// ../README.md for what it answers.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
)

func Serve(ctx context.Context, request *Request, response *Response) error {
	response.Status = 201
	response.Header = []Field{{"content-type", "text/plain"}}
	verb, count, _ := strings.Cut(strings.TrimPrefix(request.Path, "/"), "/")
	n, _ := strconv.Atoi(count)
	switch verb {
	case "sleep":
		time.Sleep(time.Duration(n) * time.Millisecond)
		_, err := fmt.Fprintf(response, "slept %d ms\n", n)
		return err
	case "meet":
		meet(n)
		_, err := io.WriteString(response, "met\n")
		return err
	case "lengths":
		return lengths(ctx, request.Header, response)
	}
	buffer := make([]byte, 16<<10)
	for {
		n, err := request.Body.Read(buffer)
		if n > 0 {
			if _, err := response.Write(bytes.ToUpper(buffer[:n])); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

var (
	arrived int
	all     = make(chan struct{})
)

// meet returns once so many requests are here: the last one lets the others go on.
func meet(count int) {
	if arrived++; arrived == count {
		close(all)
	}
	<-all
}

// lengths sends requests to all addresses at once.
func lengths(ctx context.Context, header []Field, response io.Writer) error {
	lines := make(chan string)
	var group sync.WaitGroup
	for _, field := range header {
		if field.Name == "address" {
			group.Go(func() { lines <- length(ctx, field.Value) })
		}
	}
	go func() {
		group.Wait()
		close(lines)
	}()
	var failed error
	for line := range lines {
		if _, err := io.WriteString(response, line); err != nil {
			failed = err
		}
	}
	return failed
}

func length(ctx context.Context, address string) string {
	body, err := Get(ctx, address)
	if err != nil {
		return fmt.Sprintf("%s: %v\n", address, err)
	}
	defer body.Close()
	total, err := io.Copy(io.Discard, body)
	if err != nil {
		return fmt.Sprintf("%s: %v\n", address, err)
	}
	return fmt.Sprintf("%s: %d\n", address, total)
}
