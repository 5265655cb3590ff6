package scrub_test

import (
	"encoding/gob"
	"io/fs"
	"strings"
	"testing"
	"time"

	"refship/deploy"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// What mgmt reads beside the tree is put right, too: superblock, the metadata.yaml that was added, and a large content
// at one key beside its chunks. The payload is told: it is part of the deploy.
func TestRepairsForMgmt(t *testing.T) {
	f := newSetup(t)
	f.target.Namespace, f.target.Mgmt = record.MgmtNamespace, true
	f.deploy(f.Repo.Commit("one", map[string]fixture.File{
		"main.mcl": {Content: "$x = 1\n"}, "d/link": {Mode: "120000", Content: "../main.mcl"},
		"large": {Content: fixture.Content(1, tree.ChunkSize+7)},
	}), func(job *deploy.Job) { job.Frontend, job.Settings = record.Lang, record.Settings{Noop: true} })
	whole := f.Dump()
	f.want("nothing", 0, 0, whole)
	kinds := map[string]int{}
	for _, key := range f.needed() {
		f.Delete(key)
		f.want("missing "+key, 1, 0, whole)
		f.Put(key, whole[key]+"x")
		f.want("longer "+key, 1, 0, whole)
		switch value := whole[key]; {
		case strings.Contains(key, "/fs/deploy/"):
			kinds["superblock"]++
		case strings.HasPrefix(value, "main: "):
			kinds["metadata"]++
		case len(value) == tree.ChunkSize+7:
			kinds["uncut"]++
		}
	}
	if kinds["superblock"] != 1 || kinds["metadata"] != 1 || kinds["uncut"] != 1 {
		t.Errorf("there were %v", kinds)
	}
	for key, value := range whole {
		if strings.Contains(key, "/fs/deploy/") {
			other := encodedElsewhere(t, value)
			if other == value {
				t.Error("another process would write the same bytes")
			}
			f.Put(key, other)
			f.want("superblock of another process", 0, 0, f.Dump())
			f.Put(key, value)
		}
	}
	payload := string(f.target.Namespace) + "/deploy/1/payload"
	for name, damage := range map[string]func(){
		"altered":  func() { f.Put(payload, "x") },
		"missing":  func() { f.Delete(payload) },
		"of yaml":  func() { f.Put(payload, payloadOf(t, f, record.YAML, false)) },
		"settings": func() { f.Put(payload, payloadOf(t, f, record.Lang, false)) },
	} {
		damage()
		f.want("payload "+name, 0, 1, f.Dump())
		if f.found[0].Key != payload {
			t.Errorf("payload %s: told is %s", name, f.found[0])
		}
		f.Put(payload, whole[payload])
	}
	f.want("the end", 0, 0, f.Dump())
}

type otherBlock struct {
	DataPrefix, Hash string
	Tree             *otherFile
}

type otherFile struct {
	Path     string
	Mode     fs.FileMode
	ModTime  time.Time
	Children []*otherFile
	Hash     string
}

// encodedElsewhere is a superblock as another process writes it: gob numbers types in the order in which it meets them.
func encodedElsewhere(t *testing.T, superblock string) string {
	t.Helper()
	var block otherBlock
	if err := gob.NewDecoder(strings.NewReader(superblock)).Decode(&block); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := gob.NewEncoder(&b).Encode(block); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// payloadOf is the payload of another deploy.
func payloadOf(t *testing.T, f *setup, frontend record.Frontend, noop bool) string {
	t.Helper()
	other := newSetup(t)
	other.target.Namespace = record.MgmtNamespace
	other.deploy(other.Repo.Commit("one", map[string]fixture.File{"main.mcl": {}, "start.yaml": {}}),
		func(job *deploy.Job) { job.Frontend, job.Settings = frontend, record.Settings{Noop: noop} })
	return other.Dump()[string(f.target.Namespace)+"/deploy/1/payload"]
}
