package main

// What a user gains from this test: each line of the package's settings file does something once its # is taken away.

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

func TestSettingsOfThePackage(t *testing.T) {
	t.Parallel()
	help, err := exec.Command("refship", "serve", "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	settings := readFile(t, "../../contrib/packages/refship.env")
	names := regexp.MustCompile(`(?m)^#(REFSHIP_[A-Z_]+)=`).FindAllStringSubmatch(settings, -1)
	if len(names) < 10 {
		t.Fatalf("the settings are not understood: %q", names)
	}
	for _, name := range names {
		if !strings.Contains(string(help), "($"+name[1]+")") {
			t.Errorf("refship serve has no variable %s", name[1])
		}
	}
	if line := regexp.MustCompile(`(?m)^[^#\n].*$`).FindString(settings); line != "" {
		t.Errorf("the package sets %s", line)
	}
}
