package record

import (
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"refship/deploy/text"
)

// NodeState is what a node does.
type NodeState string

// The states of a node.
const (
	NodeRunning   NodeState = "running"   // it runs the deploy that it wants to run
	NodeWaiting   NodeState = "waiting"   // there is no deploy yet, or the head is not released to the node's ring
	NodeSwitching NodeState = "switching" // it fetches and prepares another one
	NodeFailed    NodeState = "failed"    // it could not switch, and will try again
	NodeRefused   NodeState = "refused"   // it must not switch before its operator has had a look
	NodeDrifted   NodeState = "drifted"   // it runs the deploy, and something else has changed what it deployed
)

// NodeFailure is what has failed on a node.
type NodeFailure string

// What can fail. Only a node knows, and it says the first two of nothing that may be the node's own trouble.
const (
	FailedPrepare NodeFailure = "prepare" // the operator's command has refused the release
	FailedHook    NodeFailure = "hook"    // a command or a webhook after the switch
	FailedFetch   NodeFailure = "fetch"   // the deploy could not be read, or is not what its record says
	FailedAge     NodeFailure = "age"     // something of it could not be decrypted
	FailedDisk    NodeFailure = "disk"    // the file system takes no more, or nothing at all
)

// NodeReport is the value of NS/refship/node/<name>: what a node says of itself (JSON). A key NS/refship/alive/<name>
// is there, on a lease, while the node lives.
type NodeReport struct {
	Name    string    `json:"name"`
	ID      ID        `json:"id"`      // the deploy that runs; 0: none does
	Hash    Hash      `json:"hash"`    // its hash; "" if none runs, or of a foreign deploy without one
	Since   time.Time `json:"since"`   // since when it runs; zero if none runs
	State   NodeState `json:"state"`   // what the node does
	Wants   ID        `json:"wants"`   // the deploy that the state is about; 0: none
	Reason  string    `json:"reason"`  // why it failed, was refused or waits, what has drifted; else ""
	Version string    `json:"version"` // of the node's refship
	// Recipient is whom to encrypt to, for age -r: "age1…" or a public key of SSH; several have a line each.
	Recipient string `json:"recipient"`
	// Ring is the ring that the node is in; "": none.
	Ring    string      `json:"ring"`
	Failure NodeFailure `json:"failure"` // what has failed; "" if nothing has, or something else
	Time    time.Time   `json:"time"`    // when the node said this
}

// Encode gives the report's bytes.
func (r *NodeReport) Encode() ([]byte, error) {
	short := *r
	short.Reason = Shorten(r.Reason)
	encoded, err := json.Marshal(short)
	if err != nil {
		return nil, fmt.Errorf("encode a node's report: %w", err)
	}
	return encoded, nil
}

// ParseNodeReport reads a report. Any writer can have put any value: what cannot be read has only the name of its key.
func ParseNodeReport(name string, value []byte) *NodeReport {
	r := new(NodeReport)
	if json.Unmarshal(value, r) != nil {
		return &NodeReport{Name: name, State: NodeFailed, Reason: "its report cannot be read"}
	}
	r.Name = name
	return r
}

// The keys of a node are below a chain's own: Chain.Key(NodeKey(name)).
const (
	NodeKeys  = "node/"
	AliveKeys = "alive/"
)

// HostKeys is what the keys of mgmt's hosts begin with, after the namespace: by the code that is deployed each host
// writes there the hash of what it runs. The key of a host that died stays.
const HostKeys = "/strings/refship/"

var nodeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$`)

// CheckNodeName says what keeps a text from being a node's name.
func CheckNodeName(name string) error {
	if !nodeName.MatchString(name) {
		return fmt.Errorf("%q is no name of a node: up to 100 letters, digits, '.', '_' and '-', the first no '.' or '-'",
			text.Clip(name))
	}
	return nil
}
