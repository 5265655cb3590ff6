package overssh

import (
	"net/url"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
)

// scheme is what an address begins with.
const scheme = "ssh://"

// Is tells whether a chain's name is an address.
func Is(name string) bool { return strings.HasPrefix(name, scheme) }

// Address is a chain on another machine.
type Address struct {
	text  string
	Host  string // [USER@]HOST, for ssh
	Port  string // "": ssh's own default
	Chain string // REPO or REPO:TARGET
}

// String gives the address as it was written.
func (a Address) String() string { return a.text }

// Parse reads ssh://[USER@]HOST[:PORT]/REPO[:TARGET]. An error is a fault.Usage.
func Parse(s string) (Address, error) {
	bad := func(why string) (Address, error) {
		return Address{}, fault.New(fault.Usage, text.Mention(text.Clip(s))+" names no chain: "+why,
			"a chain on another machine is ssh://[USER@]HOST[:PORT]/REPO[:TARGET]")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme+"://" != scheme:
		return bad("it is no address of ssh")
	case u.Hostname() == "":
		return bad("the host is missing")
	case strings.HasPrefix(u.Hostname(), "-") || strings.HasPrefix(u.User.Username(), "-"):
		return bad("ssh would take it for an option")
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return bad("it has more than host, port, repository and target")
	}
	if _, hasPassword := u.User.Password(); hasPassword {
		return bad("ssh takes no password from an address")
	}
	repository, target, hasTarget := strings.Cut(strings.Trim(u.Path, "/"), ":")
	repository = strings.TrimSuffix(repository, ".git")
	switch {
	case repository == "":
		return bad("the repository is missing")
	case text.BadRepositoryName(repository) != "":
		return bad("the repository's name " + text.BadRepositoryName(repository))
	case hasTarget && target == "":
		return bad("the target is missing after the colon")
	case strings.ContainsAny(target, "'\"\\ \n\r\x00"):
		return bad("no target has such a name")
	}
	a := Address{text: s, Host: u.Hostname(), Port: u.Port(), Chain: repository}
	if name := u.User.Username(); name != "" {
		a.Host = name + "@" + a.Host
	}
	if hasTarget {
		a.Chain += ":" + target
	}
	return a, nil
}

// Command is how a person runs one of the server's commands, for a shell: ssh -p 2222 git@deploy.example WORDS.
func (a Address) Command(words string) string {
	port := ""
	if a.Port != "" {
		port = "-p " + a.Port + " "
	}
	return "ssh " + port + text.Quote(a.Host) + " " + words
}
