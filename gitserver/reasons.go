package gitserver

import (
	"refship/deploy/fault"
	"refship/gitserver/command"
	"refship/hooks"
)

// Reasons for what clients and the log are told. The program words the remedies: as something that the server's
// operator does, "raise --max-connections".
const (
	ReasonFlaw       fault.Reason = "push-has-flaw" // about the repository and the id of git's message
	ReasonFormat     fault.Reason = "object-format" // about the repository and the format that it has not
	ReasonGitMemory  fault.Reason = hooks.ReasonMemory
	ReasonKeyUnknown fault.Reason = "key-unknown"     // about the key, as a public key file has it
	ReasonLFS        fault.Reason = command.ReasonLFS // about the repository
	ReasonLoginGrace fault.Reason = "login-grace-limit"
	ReasonPackSize   fault.Reason = "pack-size-limit"
)

// words is the program's remedy for a reason.
func (s *Server) words(reason fault.Reason, about ...string) string {
	return s.cfg.Remedy(&fault.Error{Reason: reason, About: about})
}

// askOperator is the remedy for a client that met a limit.
func (s *Server) askOperator(limit fault.Reason) string {
	words := s.words(limit)
	if words == "" {
		words = "raise the limit"
	}
	return "ask the server's operator to " + words
}
