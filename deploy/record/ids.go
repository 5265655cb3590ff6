package record

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"refship/deploy/fault"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// MaxNamespace bounds a namespace in bytes, so that every key stays far below what etcd's tools show on a line.
const MaxNamespace = 200

var namespaceElement = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// Namespace is the etcd prefix of one chain: absolute, without a trailing slash, such as "/refship/config".
type Namespace string

// NoDeploy is said of a chain without a deploy.
const NoDeploy = "no deploy yet"

// Undeployed says that the namespace's chain has no deploy.
func (ns Namespace) Undeployed() string { return string(ns) + " has " + NoDeploy }

// ParseNamespace checks a namespace as a user writes it.
func ParseNamespace(s string) (Namespace, error) {
	bad := func(why string) (Namespace, error) {
		return "", fault.New(fault.Refused, fmt.Sprintf("namespace %q %s", s, why),
			"a namespace looks like /refship/config: elements of letters, digits, '.', '_' and '-', each after a slash")
	}
	if len(s) > MaxNamespace {
		return bad(fmt.Sprintf("is %d bytes (limit %d)", len(s), MaxNamespace))
	}
	rest, ok := strings.CutPrefix(s, "/")
	if !ok {
		return bad("does not start with a slash")
	}
	for i, element := range strings.Split(rest, "/") {
		switch {
		case !namespaceElement.MatchString(element):
			return bad(fmt.Sprintf("has the element %q", element))
		case element == "deploy", element == "fs", element == "storage", element == "refship" && i > 0:
			// These are the names below a namespace: with one of them a namespace could lie in another's keys.
			return bad(fmt.Sprintf("has the reserved element %q", element))
		}
	}
	return Namespace(s), nil
}

// Overlaps tells whether n and o are the same, or one is inside the other.
func (n Namespace) Overlaps(o Namespace) bool {
	return strings.HasPrefix(string(n)+"/", string(o)+"/") || strings.HasPrefix(string(o)+"/", string(n)+"/")
}

// ID numbers a deploy in its chain: 1, 2, 3 …; 0 is "none".
type ID uint64

// ParseID reads a deploy id: decimal, from 1 to MaxID, without leading zeros.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 || ID(n) > MaxID || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("deploy id %q is not a number from 1", text.Clip(s))
	}
	return ID(n), nil
}

func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// treePrefix starts the deploy hash of a plain directory.
const treePrefix = "tree:"

// Hash is a deploy hash: a commit's oid in hex, or "tree:" and a tree's oid. "" is "none".
type Hash string

// CommitHash is the deploy hash of a commit.
func CommitHash(commit tree.OID) Hash { return Hash(commit.String()) }

// TreeHash is the deploy hash of a plain directory.
func TreeHash(root tree.OID) Hash { return Hash(treePrefix + root.String()) }

// ParseHash reads a deploy hash.
func ParseHash(s string) (Hash, error) {
	if _, err := tree.ParseOID(strings.TrimPrefix(s, treePrefix)); err != nil {
		return "", fmt.Errorf("deploy hash %q is neither an oid nor %q and an oid", s, treePrefix)
	}
	return Hash(s), nil
}

// OID is the commit's oid, or that of the directory's tree; zero of "".
func (h Hash) OID() tree.OID {
	oid, _ := tree.ParseOID(strings.TrimPrefix(string(h), treePrefix)) // ParseHash has checked it
	return oid
}

// IsTree tells whether a plain directory was deployed.
func (h Hash) IsTree() bool { return strings.HasPrefix(string(h), treePrefix) }

// Short is the hash for reading: 7 digits of the oid, "tree:" kept.
func (h Hash) Short() string {
	prefix, oid := "", string(h)
	if h.IsTree() {
		prefix, oid = treePrefix, oid[len(treePrefix):]
	}
	return prefix + oid[:min(7, len(oid))]
}

// Kind says what made a deploy.
type Kind string

// The kinds of deploys.
const (
	KindPush     Kind = "push"
	KindDeploy   Kind = "deploy"
	KindRollback Kind = "rollback"
)
