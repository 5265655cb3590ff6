package report

import "refship/deploy/record"

// Phase is how far a delivery is.
type Phase string

// The phases, in their order. The last three are the end of one; an end may come without those before.
const (
	Checking   Phase = "checking"
	Storing    Phase = "storing"
	Publishing Phase = "publishing"
	Published  Phase = "published"
	Idle       Phase = "idle" // there is nothing to deploy
	Failed     Phase = "failed"
)

// Step says how far a delivery is.
type Step struct {
	Delivery   uint64 // a number: the same for all steps of one, and of no other of the process
	Namespace  record.Namespace
	Repository string
	Target     string
	By         string // who asked for it
	Hash       record.Hash
	Phase      Phase
	ID         record.ID // with Published
}
