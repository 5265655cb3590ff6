package target_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/hooks/target"
)

func TestReadSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "config"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("[refship]\n\trepository = config\n\tendpoints = https://a:2379,https://b:2379\n" +
		"\tcacert = /etc/ca.pem\n\tcert = /etc/c.pem\n\tkey = /etc/k.pem\n" +
		"[Refship]\n\tUser = ada\n\tPassword-File = /etc/p\n\tsigning-key = \"/etc/a # key\"\n" +
		"[refship \"default\"]\n\tref = refs/heads/main\n\tnamespace = /refship/config\n")
	want := target.Settings{
		Repository: "config", Endpoints: []string{"https://a:2379", "https://b:2379"},
		CACert: "/etc/ca.pem", Cert: "/etc/c.pem", Key: "/etc/k.pem",
		User: "ada", PasswordFile: "/etc/p", SigningKey: "/etc/a # key",
	}
	got, err := target.Read(dir)
	if diff := cmp.Diff(want, got.Settings); diff != "" || err != nil {
		t.Errorf("settings (-want +got), %v:\n%s", err, diff)
	}
	if diff := cmp.Diff([]target.Target{defaultTarget}, targetsOf(t, dir)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	for _, c := range []struct{ text, names, remedy string }{
		{"endpoint = a", "refship.endpoint", "endpoints"},
		{"user = ada\n\tUSER = bob", "refship.user", "take one out"},
		{"password = secret", "refship.password", "git config refship.password-file"},
		{"user = ada:secret\n\tpassword-file = /p", "refship.user", "git config refship.password-file"},
		{"user = ada", "refship.password-file", "both"},
		{"cert = /c", "refship.key", "both"},
		{"cacert = c", "refship.cacert = c", "from the root"},
		{"endpoints = a,,b", `""`, "single commas"},
		{"endpoints = a, b", `" b"`, "single commas"},
		{"endpoints", "refship.endpoints", "git config --unset refship.endpoints"},
	} {
		put("[refship]\n\t" + c.text + "\n")
		_, err := target.Read(dir)
		fixture.WantFault(t, fault.Refused, err, c.names, c.remedy)
		if _, err := target.ReadTargets(dir); err == nil {
			t.Errorf("%s: targets are read", c.text)
		}
	}
}

func TestSettingsCheckFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret, public := file("secret", 0o640), file("public key", 0o644)
	if err := (target.Settings{CACert: public, Cert: public, Key: secret, User: "ada", PasswordFile: secret,
		SigningKey: secret}).CheckFiles(); err != nil {
		t.Error(err)
	}
	for _, s := range []target.Settings{{Key: public}, {PasswordFile: public}, {SigningKey: public}} {
		fixture.WantFault(t, fault.Refused, s.CheckFiles(), "0644",
			"chmod o= '"+public+"'")
	}
	fixture.WantFault(t, fault.Refused, (target.Settings{CACert: filepath.Join(dir, "x")}).CheckFiles(), "refship.cacert",
		"name another")
	fixture.WantFault(t, fault.Refused, (target.Settings{Key: dir}).CheckFiles(), dir, "name a file")
}
