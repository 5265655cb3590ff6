package gitserver

// usageError is an ssh command that is not understood (exit 2).
type usageError struct{ what, remedy string }

func (e *usageError) Error() string { return e.what }
func (e *usageError) Hint() string  { return e.remedy }

// refusedError is an ssh command that this key may not run, or not on this repository (exit 4).
type refusedError struct{ what, remedy string }

func (e *refusedError) Error() string { return e.what }
func (e *refusedError) Hint() string  { return e.remedy }
