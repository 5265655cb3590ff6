package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"refship/deploy/fault"
)

func TestFindsThroughWrapping(t *testing.T) {
	refused := fault.New(fault.Refused, "name is 300 bytes (limit 255)", "shorten it")
	unknown := &fault.Error{Reason: "repository-unknown", About: []string{"config"}, Cause: refused}
	plain := errors.New("disk on fire")
	type found struct {
		Kind   fault.Kind
		Remedy string
		Reason fault.Reason
		About  []string
	}
	for name, test := range map[string]struct {
		err  error
		want found
	}{
		"nil":               {nil, found{}},
		"plain":             {plain, found{Kind: fault.Failed}},
		"itself":            {refused, found{fault.Refused, "shorten it", "", nil}},
		"wrapped":           {fmt.Errorf("deploy: %w", refused), found{fault.Refused, "shorten it", "", nil}},
		"kind of the cause": {unknown, found{fault.Refused, "shorten it", "repository-unknown", []string{"config"}}},
		"the outer one wins": {&fault.Error{Kind: fault.Conflict, Remedy: "wait", Cause: refused},
			found{fault.Conflict, "wait", "", nil}},
		"a remedy over a reason": {
			&fault.Error{Remedy: "wait", Cause: unknown}, found{fault.Refused, "wait", "", nil},
		},
		"joined": {
			errors.Join(plain, refused, fault.New(fault.Usage, "x", "y")), found{fault.Usage, "shorten it", "", nil},
		},
		"joined the other way round": {
			errors.Join(fault.New(fault.Usage, "x", "y"), refused, plain), found{fault.Usage, "y", "", nil},
		},
		"joined, one says only that it failed": {
			errors.Join(fault.New(fault.Failed, "x", "y"), fault.New(fault.Unavailable, "z", "")),
			found{fault.Unavailable, "y", "", nil},
		},
		"two causes of one": {fmt.Errorf("%w: %w", plain, refused), found{fault.Refused, "shorten it", "", nil}},
		"a formatted one's own": {fault.Newf(fault.Corrupt, "read: %w", refused),
			found{fault.Corrupt, "shorten it", "", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			got := found{Kind: fault.KindOf(test.err), Remedy: fault.RemedyOf(test.err)}
			got.Reason, got.About = fault.ReasonOf(test.err)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestText(t *testing.T) {
	for want, err := range map[string]error{
		"read lock: file does not exist": fault.Newf(fault.Failed, "read lock: %w", fs.ErrNotExist),
		"file does not exist":            &fault.Error{Kind: fault.Refused, Cause: fs.ErrNotExist},
		"it is full":                     &fault.Error{What: "it is full", Cause: fs.ErrNotExist},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: the cause is not found", want)
		}
	}
	if !fault.Is(fmt.Errorf("x: %w", fault.New(fault.Usage, "", "")), fault.Usage) || fault.Is(nil, fault.Failed) {
		t.Error("Is")
	}
}
