package keys

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"refship/deploy/fixture"
)

// TestNamedIsLikeList: of any file Named gives what List gives of that name.
func TestNamedIsLikeList(t *testing.T) {
	f := newFile(t)
	mustAdd(t, f, "first", fixture.PublicKey(), Rule{Action: Read, Repository: "*"})
	var pubs []string
	for range 4 {
		pubs = append(pubs, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(fixture.PublicKey()))))
	}
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for range rapid.IntRange(0, 8).Draw(t, "lines") {
			text.WriteString(rapid.SampledFrom([]string{"", "# ", " ", "x"}).Draw(t, "begin"))
			name := rapid.SampledFrom([]string{"alice", "bob", "alice2", "-", `a"`}).Draw(t, "name")
			allow := rapid.SampledFrom([]string{"read:*", "fly:*", "", `name="alice"`}).Draw(t, "allow")
			text.WriteString(`name="` + name + `",allow="` + allow + `" `)
			text.WriteString(rapid.SampledFrom(pubs).Draw(t, "key"))
			text.WriteString(rapid.SampledFrom([]string{"", ` name="alice"`, " x"}).Draw(t, "comment") + "\n")
		}
		if err := os.WriteFile(f.Path, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		all, _, err := f.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"alice", "bob", "alice2", "-", `a"`, ""} {
			got, err := f.Named(name)
			if err != nil {
				t.Fatal(err)
			}
			var want []*Key
			for _, key := range all {
				if key.Name == name {
					want = append(want, key)
				}
			}
			if !slices.EqualFunc(got, want, func(a, b *Key) bool { return a.Line == b.Line && a.Name == b.Name }) {
				t.Fatalf("%s: got %v, want %v of\n%s", name, got, want, text.String())
			}
		}
	})
}
