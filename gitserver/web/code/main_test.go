package code

import (
	"testing"

	"github.com/dlclark/regexp2/v2"

	"refship/deploy/fixture"
)

// regexp2, below chroma, has a clock of its own, which runs on for a while.
func TestMain(m *testing.M) { fixture.Main(m, regexp2.StopTimeoutClock) }
