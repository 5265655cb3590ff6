package mgmt_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/mgmt"
)

// TestDocExample holds the bytes in the package's documentation to those that mgmt wrote.
func TestDocExample(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for _, line := range regexp.MustCompile(`(?m)^//\t((?:[0-9a-f]{2} ?)+)$`).FindAllStringSubmatch(string(text), -1) {
		digits.WriteString(strings.ReplaceAll(line[1], " ", ""))
	}
	said, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	keys := golden(t, "yaml")
	_, payload := one(t, keys, "/deploy/1/", "payload")
	_, superblock := one(t, keys, "/fs/deploy/", "")
	raw, err := base64.StdEncoding.DecodeString(string(payload))
	if err != nil {
		t.Fatal(err)
	}
	if is := append(raw, superblock...); !bytes.Equal(said, is) {
		t.Errorf("the documentation has\n% x\nand the dump\n% x", said, is)
	}
}

// A tree without metadata.yaml, and a link in it.
func ExampleLay() {
	f := newForest()
	root := f.plant(map[string]leaf{
		"main.mcl":   {mode: filemode.Regular, content: "import \"fmt\"\n"},
		"files/motd": {mode: filemode.Regular, content: "hello\n"},
		"files/link": {mode: filemode.Symlink, content: "motd"},
	})
	l, err := mgmt.Lay(context.Background(), f.source(root.OID), mgmt.Options{Frontend: mgmt.Auto, MaxValue: maxValue})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s starts with %s; %d files; added: %s", l.Frontend, l.Entry, l.Files, l.Made)
	var show func(dir *mgmt.File, above string)
	show = func(dir *mgmt.File, above string) {
		for _, f := range dir.Children {
			fmt.Printf("%v %s%s\n", f.Mode, above, f.Name)
			show(f, above+f.Name+"/")
		}
	}
	show(l.Root, "/")
	// Output:
	// lang starts with main.mcl; 4 files; added: main: "main.mcl"
	// drwxr-xr-x /files
	// -rw-r--r-- /files/link
	// -rw-r--r-- /files/motd
	// -rw-r--r-- /main.mcl
	// -rw-r--r-- /metadata.yaml
}

func ExampleInputURI() {
	path := mgmt.SuperblockPath(3, "0629e604-e4c8-4947-828a-bb064e6bb467")
	fmt.Println(path)
	fmt.Println(mgmt.InputURI(path))
	// Output:
	// /fs/deploy/3-0629e604-e4c8-4947-828a-bb064e6bb467
	// etcdfs:///fs/deploy/3-0629e604-e4c8-4947-828a-bb064e6bb467
}
