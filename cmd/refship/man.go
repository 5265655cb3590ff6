package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
)

type manCmd struct {
	Dir string `arg:"" help:"The directory. Pages of commands that are gone are removed from it."`
}

// Run writes the pages. They are the same on every machine and at every time.
func (c *manCmd) Run(_ context.Context, a *app) error {
	pages, err := manPages(a)
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(c.Dir, "*.1"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if _, ok := pages[filepath.Base(path)]; !ok {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, page := range pages {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(page), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// manPages gives a page for refship and one for each command, by file name: "refship-repo-create.1".
func manPages(a *app) (map[string]string, error) {
	parser, err := newParser(a, &cli{})
	if err != nil {
		return nil, err
	}
	pages := map[string]string{}
	var add func(node *kong.Node)
	add = func(node *kong.Node) {
		pages[manName(node)+".1"] = manPage(node)
		for _, child := range node.Children {
			if !child.Hidden {
				add(child)
			}
		}
	}
	add(parser.Model.Node)
	return pages, nil
}

// manName is "refship-repo-create".
func manName(node *kong.Node) string {
	if node.Parent == nil {
		return node.Name
	}
	return manName(node.Parent) + "-" + node.Name
}

// manPage is a page in the macros of man(7).
func manPage(node *kong.Node) string {
	var b strings.Builder
	name := manName(node)
	fmt.Fprintf(&b, ".\\\" made from the program's grammar by make man\n.TH %s 1 \"\" refship \"refship's manual\"\n",
		strings.ToUpper(name))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(strings.TrimSuffix(node.Help, ".")))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n%s\n", roff(strings.ReplaceAll(name, "-", " ")), roff(synopsis(node)))
	if node.Detail != "" {
		fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(node.Detail))
	}
	if len(node.Children) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, child := range node.Children {
			if !child.Hidden {
				fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", roff(manName(child)), roff(child.Help))
			}
		}
	}
	if len(node.Positional) > 0 {
		b.WriteString(".SH ARGUMENTS\n")
		for _, arg := range node.Positional {
			fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(arg.Summary()), roff(arg.Help))
		}
	}
	manFlags(&b, node)
	if node.Parent == nil {
		b.WriteString(".SH EXIT STATUS\n.nf\n")
		_, codes, _ := strings.Cut(exitCodesHelp, "\n\n")
		b.WriteString(roff(codes) + ".fi\n")
		return b.String()
	}
	fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)", roff(manName(node.Parent)))
	if node.Parent.Parent != nil {
		fmt.Fprintf(&b, ",\n.BR refship (1)")
	}
	b.WriteString(", for the exit status\n")
	return b.String()
}

// synopsis is what follows a command's name.
func synopsis(node *kong.Node) string {
	if !node.Leaf() {
		return "COMMAND ..."
	}
	words := []string{}
	for _, arg := range node.Positional {
		words = append(words, arg.Summary())
	}
	for _, flag := range node.Flags {
		if flag.Required {
			words = append(words, flag.Summary())
		}
	}
	return strings.Join(append(words, "[flags]"), " ")
}

func manFlags(b *strings.Builder, node *kong.Node) {
	groups := map[string]string{} // the flags of a group, by its title
	var titles []string
	for _, flag := range node.Flags {
		if flag.Hidden {
			continue
		}
		title := "OPTIONS"
		if flag.Group != nil {
			title = flag.Group.Title
		}
		if groups[title] == "" {
			titles = append(titles, title)
		}
		usage := "--" + flag.Name
		if flag.Short != 0 {
			usage = "-" + string(flag.Short) + ", " + usage
		}
		if !flag.IsBool() {
			usage += "=" + flag.FormatPlaceHolder()
		}
		groups[title] += fmt.Sprintf(".TP\n.B %s\n%s\n", roff(usage), roff(describeValue(flag.Value)))
	}
	for _, title := range titles {
		heading := ".SH"
		if title != "OPTIONS" {
			heading = ".SS"
		}
		fmt.Fprintf(b, "%s %s\n%s", heading, roff(strings.TrimSuffix(title, ":")), groups[title])
	}
}

// roff makes text of words: no character of them is a request or an escape.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	var b strings.Builder
	for _, r := range strings.Join(lines, "\n") {
		if r <= unicode.MaxASCII {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		}
	}
	return b.String()
}
