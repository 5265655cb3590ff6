package main

import (
	"fmt"
	"path/filepath"

	"refship/deploy/disk"
	"refship/deploy/fault"
	"refship/deploy/mgmt"
	"refship/deploy/record"
	"refship/deploy/text"
	"refship/deploy/tree"
)

// maxLoneFile bounds what is read into memory, in bytes. mgmt takes less, and then what it takes is said.
const maxLoneFile = 16 << 20

// checkFile refuses what does not go with --file.
func (c *deployCmd) checkFile() error {
	frontend := record.Files
	if c.Frontend != nil {
		frontend = record.Frontend(*c.Frontend)
	}
	switch {
	case frontend != record.Lang && frontend != record.YAML && frontend != record.Puppet:
		return fault.New(fault.Usage, "--file is for mgmt's lang, yaml and puppet, and the frontend is "+string(frontend),
			"name one of them: --frontend lang; or put the file into a directory of its own, and give --dir")
	case c.Entry != nil || c.PuppetConf != nil || c.ModulePath != nil:
		return fault.New(fault.Usage, "--entry, --puppet-conf and --module-path are about a tree, and --file is alone",
			"put the files into a directory, and give --dir")
	}
	return nil
}

// file makes of one file the tree that mgmt's own command makes of it.
func (c *deployCmd) file(tell func(string)) (*source, error) {
	if c.Namespace == "" {
		c.Namespace = string(record.MgmtNamespace)
		tell("namespace " + c.Namespace + ", the only one that mgmt reads")
	}
	target, err := c.adHoc("")
	if err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(c.File)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", c.File, err)
	}
	content, err := disk.ReadFile(c.File, maxLoneFile)
	if err != nil {
		return nil, fmt.Errorf("read the file to deploy: %w", err)
	}
	name := filepath.Base(abs)
	files, entry, err := mgmt.LoneFile(string(target.Frontend), name, content)
	var dir *tree.Directory
	if err == nil {
		target.Entry = entry
		dir, err = tree.MakeDirectory(c.ObjectFormat.orDefault(), name, files)
	}
	if err != nil {
		return nil, fault.New(fault.Refused, fmt.Sprintf("%q cannot be deployed alone: %v", c.File, err), "rename it")
	}
	tell(text.Printable(fmt.Sprintf("file %s: tree:%s, as mgmt makes it: %s", abs, dir.Root(),
		text.FirstFew(dir.Names()))))
	return &source{repository: name, target: target, dir: dir}, nil
}
