// Record checks the entries of an exported bag with the packages of Go's checksum database.
//
//	record BAG VKEY
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error, what string) {
	if err != nil {
		log.Fatal(what, ": ", err)
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	check(err, path)
	return data
}

func main() {
	log.SetFlags(0)
	verifier, err := note.NewVerifier(os.Args[2])
	check(err, "key")
	proofs, _ := filepath.Glob(filepath.Join(os.Args[1], "custody", "*.tlog-proof"))
	for _, path := range proofs {
		head, below, _ := bytes.Cut(read(path), []byte("\n\n"))
		opened, err := note.Open(below, note.VerifierList(verifier))
		check(err, path)
		text := strings.Split(opened.Text, "\n")
		size, err := strconv.ParseInt(text[1], 10, 64)
		check(err, path)
		root, err := tlog.ParseHash(text[2])
		check(err, path)
		lines := strings.Split(string(head), "\n")
		index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
		check(err, path)
		var way tlog.RecordProof
		for _, line := range lines[2:] {
			hash, err := tlog.ParseHash(line)
			check(err, path)
			way = append(way, hash)
		}
		entry := read(strings.TrimSuffix(path, ".tlog-proof") + ".json")
		check(tlog.CheckRecord(way, size, root, index, tlog.RecordHash(entry)), path)
	}
	fmt.Println(len(proofs), "entries stand in the log")
}
