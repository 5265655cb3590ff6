package permit

import (
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"refship/deploy/disk"
	"refship/deploy/record"
)

const (
	maxUserName = 200     // bounds who a record names, in bytes
	maxLogin    = 1 << 20 // bounds the file in which sshd says how somebody logged in, in bytes
)

// PusherFromEnv says who deploys where refship's own server has authenticated no key. It trusts the environment, and
// so the program that made it; Via says which:
//
//	gitolite      GL_USER, which gitolite sets from the key that authenticated
//	gitea         GITEA_PUSHER_NAME, which Gitea and Forgejo set
//	sshd from IP  the account that sshd logged in (SSH_CONNECTION); with ExposeAuthInfo the key (SSH_USER_AUTH)
//	os            the account that the process runs as
func PusherFromEnv(getenv func(string) (string, bool)) record.Pusher {
	env := func(name string) string {
		value, _ := getenv(name)
		return strings.ToValidUTF8(value[:min(len(value), maxUserName)], "")
	}
	if name := env("GL_USER"); name != "" {
		return record.Pusher{Name: name, Via: "gitolite"}
	}
	if name := env("GITEA_PUSHER_NAME"); name != "" {
		return record.Pusher{Name: name, Via: "gitea"}
	}
	name := strconv.Itoa(os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if address, _, _ := strings.Cut(env("SSH_CONNECTION"), " "); address != "" {
		return record.Pusher{Name: name, Key: loginKey(env("SSH_USER_AUTH")), Via: "sshd from " + address}
	}
	return record.Pusher{Name: name, Via: "os"}
}

// loginKey is the fingerprint of the key in the file that sshd writes with ExposeAuthInfo (sshd_config(5)): lines
// such as "publickey ssh-ed25519 AAAA…". It is "" if there is none.
func loginKey(path string) string {
	if path == "" {
		return ""
	}
	text, err := disk.ReadFile(path, maxLogin)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		method, rest, _ := strings.Cut(line, " ")
		if method != "publickey" {
			continue
		}
		if key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(rest)); err == nil {
			return ssh.FingerprintSHA256(key)
		}
	}
	return ""
}
