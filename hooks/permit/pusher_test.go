package permit_test

import (
	"os"
	"os/user"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/record"
	"refship/hooks/permit"
)

func TestPusherFromEnv(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	auth := filepath.Join(t.TempDir(), "auth")
	text := "password\npublickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n"
	if err := os.WriteFile(auth, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  map[string]string
		want record.Pusher
	}{
		"nothing": {nil, record.Pusher{Name: me.Username, Via: "os"}},
		"sshd": {map[string]string{"SSH_CONNECTION": "10.1.2.3 4711 10.0.0.1 22"},
			record.Pusher{Name: me.Username, Via: "sshd from 10.1.2.3"}},
		"sshd, key not shown": {map[string]string{"SSH_CONNECTION": "10.1.2.3 4711 10.0.0.1 22", "SSH_USER_AUTH": auth +
			".none"}, record.Pusher{Name: me.Username, Via: "sshd from 10.1.2.3"}},
		"sshd with a key": {
			map[string]string{"SSH_CONNECTION": "10.1.2.3 4711 10.0.0.1 22", "SSH_USER_AUTH": auth},
			record.Pusher{Name: me.Username, Key: "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
				Via: "sshd from 10.1.2.3"},
		},
		"gitolite behind sshd": {map[string]string{"SSH_CONNECTION": "::1 1 ::1 22", "GL_USER": "alice"},
			record.Pusher{Name: "alice", Via: "gitolite"}},
		"gitea":     {map[string]string{"GITEA_PUSHER_NAME": "bob"}, record.Pusher{Name: "bob", Via: "gitea"}},
		"not UTF-8": {map[string]string{"GL_USER": "al\xffice"}, record.Pusher{Name: "alice", Via: "gitolite"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := permit.PusherFromEnv(func(name string) (string, bool) { value, ok := c.env[name]; return value, ok })
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
