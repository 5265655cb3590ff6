package tree_test

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"refship/deploy/fixture"
	"refship/deploy/tree"
)

// file is an entry for content, hashed as git does and with sha256.
func file(mode filemode.FileMode, name, content string) tree.Entry {
	return tree.Entry{
		Mode: mode, Name: name, OID: tree.HashObject(tree.FormatSHA1, "blob", []byte(content)),
		Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content)),
	}
}

// directory is an entry for a node.
func directory(name string, n *tree.Node) tree.Entry {
	text := n.Text()
	return tree.Entry{
		Mode: filemode.Dir, Name: name, OID: n.OID(tree.FormatSHA1),
		Size: int64(len(text)), SHA256: sha256.Sum256(text),
	}
}

// exampleNode is the worked example of the package documentation.
func exampleNode() *tree.Node {
	etc := &tree.Node{Entries: []tree.Entry{file(filemode.Regular, "motd", "hello\n")}}
	return &tree.Node{Entries: []tree.Entry{
		file(filemode.Symlink, "README", "etc/motd"),
		directory("etc", etc),
		file(filemode.Executable, "run me", "#!/bin/sh\n"),
		{Mode: filemode.Submodule, Name: "vendor", OID: fixture.OID("5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80")},
	}}
}

// show makes a node's text readable: one entry a line, its parts marked.
func show(text []byte) string {
	return strings.NewReplacer("\t", "<TAB>", "\x00", "<NUL>\n").Replace(string(text))
}

func ExampleNode_Text() {
	n := exampleNode()
	fmt.Print(show(n.Text()))
	fmt.Println("bytes:", len(n.Text()))
	fmt.Println("sha256:", tree.SHA256(sha256.Sum256(n.Text())))
	fmt.Println("oid:", n.OID(tree.FormatSHA1))
	// Output:
	// 120000 edb9224b4a27bc17bc4553f564f835cdbf1fa43c 8 993a35987598be2d638cb90d8df247c815c83bd30ebcebe69ecaf5ee51354054<TAB>README<NUL>
	// 40000 411ddf9284c245a2aa1f7087804e39da26b28c15 120 59250463bbfd310e1bd5b90569374f4e0155bed90a86981d74be493ab1817675<TAB>etc<NUL>
	// 100755 1a2485251c33a70432394c93fb89330ef214bfc9 10 a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf<TAB>run me<NUL>
	// 160000 5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f80 - -<TAB>vendor<NUL>
	// bytes: 424
	// sha256: 6500de84647abcb676e93ef69063d486210e7b53accf7eecb5346d0453b398b9
	// oid: a04cda1c49758212b9e57b61738a421f802000f6
}

// The node of etc in the example above.
func ExampleNode_OID() {
	n := &tree.Node{Entries: []tree.Entry{file(filemode.Regular, "motd", "hello\n")}}
	fmt.Print(show(n.Text()))
	fmt.Println(len(n.Text()), n.OID(tree.FormatSHA1))
	// Output:
	// 100644 ce013625030ba8dba906f756967f9e9ca394464a 6 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03<TAB>motd<NUL>
	// 120 411ddf9284c245a2aa1f7087804e39da26b28c15
}

func ExampleParseNode() {
	_, err := tree.ParseNode([]byte("100664 ce013625030ba8dba906f756967f9e9ca394464a 6 " +
		"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\tmotd\x00"))
	fmt.Println(err)
	// Output: parse node: entry 1: mode "100664" is not one of 100644 100755 120000 40000 160000
}
