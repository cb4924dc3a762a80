// Sumdb reads a log as the agent publishes it, with the packages of Go's checksum database, and says where they disagree.
//
//	sumdb FOLDER VKEY
//
// FOLDER holds checkpoint, entries (each behind its length as two bytes), proofs/<index>, consistency/<old> (hashes, one
// base64 line each) and tile/. The tree is built again from the entries alone.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type tree []tlog.Hash

func (t tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = t[index]
	}
	return found, nil
}

func check(err error, what ...any) {
	if err != nil {
		log.Fatal(append(what, ": ", err)...)
	}
}

func read(parts ...string) []byte {
	data, err := os.ReadFile(filepath.Join(parts...))
	check(err)
	return data
}

func hashes(file string) (found []tlog.Hash) {
	for _, line := range strings.Fields(string(read(file))) {
		hash, err := tlog.ParseHash(line)
		check(err, file)
		found = append(found, hash)
	}
	return found
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return n
}

func main() {
	log.SetFlags(0)
	folder := os.Args[1]
	verifier, err := note.NewVerifier(os.Args[2])
	check(err)

	opened, err := note.Open(read(folder, "checkpoint"), note.VerifierList(verifier))
	check(err, "checkpoint")
	lines := strings.Split(opened.Text, "\n")
	size := number(lines[1])
	root, err := tlog.ParseHash(lines[2])
	check(err)

	var t tree
	var entries [][]byte
	for rest := read(folder, "entries"); len(rest) > 0; {
		end := 2 + int(binary.BigEndian.Uint16(rest))
		entries = append(entries, rest[2:end])
		more, err := tlog.StoredHashes(int64(len(entries)-1), rest[2:end], t)
		check(err)
		t, rest = append(t, more...), rest[end:]
	}
	built, err := tlog.TreeHash(size, t)
	check(err)
	if int64(len(entries)) != size || built != root {
		log.Fatal("the checkpoint is not that of the entries")
	}

	proofs, _ := filepath.Glob(filepath.Join(folder, "proofs/*"))
	for _, file := range proofs {
		index := number(filepath.Base(file))
		check(tlog.CheckRecord(hashes(file), size, root, index, tlog.RecordHash(entries[index])), file)
	}
	olds, _ := filepath.Glob(filepath.Join(folder, "consistency/*"))
	for _, file := range olds {
		old := number(filepath.Base(file))
		oldRoot, err := tlog.TreeHash(old, t)
		check(err)
		check(tlog.CheckTree(hashes(file), size, root, old, oldRoot), file)
	}

	tiles := 0
	check(filepath.Walk(filepath.Join(folder, "tile"), func(path string, info os.FileInfo, err error) error {
		name, _ := filepath.Rel(folder, path)
		if err != nil || info.IsDir() || strings.HasPrefix(name, "tile/entries/") {
			return err
		}
		// Go writes the height into the path; tlog-tiles leaves it out, for it is always 8.
		tile, err := tlog.ParseTilePath(strings.Replace(name, "tile/", "tile/8/", 1))
		check(err, name)
		data, err := tlog.ReadTileData(tile, t)
		check(err, name)
		if !bytes.Equal(data, read(path)) {
			log.Fatal(name, " has other hashes")
		}
		tiles++
		return nil
	}))
	fmt.Println(size, "entries,", len(proofs), "proofs,", len(olds), "consistency proofs,", tiles, "tiles")
}
