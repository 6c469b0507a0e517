package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// verbs are what the commands in all languages do: see ../README.md. In Go alone, "hold MIB" fills so much of the heap,
// and looks whether what it uses meanwhile of its host has come to lie over that.
var verbs = map[string]func(args []string) error{
	"arguments": func([]string) error {
		for _, arg := range os.Args {
			fmt.Println(arg)
		}
		return nil
	},
	"variable": func(args []string) error {
		value, ok := os.LookupEnv(args[0])
		if !ok {
			return errors.New("there is no such variable")
		}
		_, err := fmt.Println(value)
		return err
	},
	"upper": func([]string) error { return upper(os.Stdin, os.Stdout) },
	"lines": func(args []string) error {
		count, err := strconv.Atoi(args[0])
		out := bufio.NewWriter(os.Stdout)
		for i := range count {
			fmt.Fprintln(out, i)
		}
		return errors.Join(err, out.Flush())
	},
	"sleep": func(args []string) error {
		ms, err := strconv.Atoi(args[0])
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Println("slept")
		return err
	},
	"copy": func(args []string) error {
		from, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer from.Close()
		to, err := os.Create(args[1])
		if err != nil {
			return err
		}
		return errors.Join(upper(from, to), to.Close())
	},
	"list": func(args []string) error {
		entries, err := os.ReadDir(args[0]) // sorted
		for _, entry := range entries {
			fmt.Println(entry.Name())
		}
		return err
	},
	"hold": func(args []string) error {
		count, err := strconv.Atoi(args[0])
		var held [][]byte
		for i := range count {
			held = append(held, bytes.Repeat([]byte{byte(i)}, 1<<20))
			fmt.Println(os.Args, time.Now().Year())
		}
		for i, block := range held {
			if bytes.Count(block, []byte{byte(i)}) != len(block) {
				return fmt.Errorf("the block %d has changed", i)
			}
		}
		return err
	},
	"status": func(args []string) error {
		status, err := strconv.Atoi(args[0])
		if err == nil {
			os.Exit(status)
		}
		return err
	},
}

func upper(from io.Reader, to io.Writer) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if _, err := io.WriteString(to, strings.ToUpper(line)); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
