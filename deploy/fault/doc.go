// Package fault holds the one error type that refship's packages give to people.
//
// An [Error] says what is wrong, what sort of failure it is, and what to do about it:
//
//	&fault.Error{
//		Kind:   fault.Refused,
//		What:   "ref refs/heads/main of config cannot be deleted",
//		Remedy: "remove the target first",
//		Cause:  err,
//	}
//
// Kinds are the exit codes of refship and of ssh HOST commands.
//
// # Remedy and reason
//
// A package below cmd knows no command and no flag of refship. Where the remedy is one of those, the error carries a
// [Reason] instead: a short fixed name of what is wrong, and the words that the remedy is about. The program words the
// remedy. A Remedy that names no command of refship is written where the error is made.
//
// # Branching
//
// A caller that needs to know more than the kind compares sentinel errors with errors.Is, or finds a typed error with
// errors.As. Both wrap or are wrapped by an Error. [KindOf], [RemedyOf] and [ReasonOf] look through any wrapping; of
// joined errors they take the first that says something.
//
// An Error does not change once it is made, so goroutines may share it.
package fault
