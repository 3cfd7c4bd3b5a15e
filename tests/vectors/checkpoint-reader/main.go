// A reader of checkpoints that shares nothing with ours: golang.org/x/mod and github.com/transparency-dev/formats.
//
//	go run . VERIFIER-KEY ORIGIN <NOTE
//
// prints the size and the root hash (hex) of a checkpoint that the key signed, or fails.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/formats/note"
)

func main() {
	verifier, err := note.NewVerifier(os.Args[1])
	if err == nil {
		var body []byte
		if body, err = io.ReadAll(os.Stdin); err == nil {
			var found *log.Checkpoint
			if found, _, _, err = log.ParseCheckpoint(body, os.Args[2], verifier); err == nil {
				fmt.Printf("%d %x\n", found.Size, found.Hash)
				return
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
