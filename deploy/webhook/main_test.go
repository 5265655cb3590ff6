package webhook_test

import (
	"testing"

	"refship/deploy/fixture"
)

func TestMain(m *testing.M) { fixture.Main(m) }
