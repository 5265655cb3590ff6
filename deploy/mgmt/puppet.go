package mgmt

import (
	"context"
	"fmt"
)

// Agent is the entry of frontend puppet that names no manifest: mgmt takes the catalog that a puppet agent gets.
const Agent = "agent"

// The modes of frontend puppet. The last two are only read: Lay does not make them.
const (
	modeFile   = "file"
	modeAgent  = "agent"
	modeString = "string" // the manifest was given on the command line; in etcd it is a file, too
	modeDir    = "dir"    // mgmt says "not implemented" and runs nothing
)

// What mgmt opens with frontend puppet, whatever the files are called in the tree.
const (
	manifestName    = "file.pp"
	confName        = "puppet.conf"
	defaultManifest = "site.pp"
)

func isPuppetMode(mode string) bool {
	return mode == modeFile || mode == modeAgent || mode == modeString || mode == modeDir
}

// puppet lays out one manifest, and the puppet.conf that is set. With Agent there is nothing to lay out.
func (l *layer) puppet(ctx context.Context) (*Layout, error) {
	entry := l.o.Entry
	switch {
	case entry == Agent && l.o.Conf != "":
		return nil, refuseSettings("", fmt.Sprintf(
			"puppet.conf %q is set, and mgmt reads none for the catalog of an agent", l.o.Conf),
			"unset it, or set the entry file to a manifest")
	case entry == Agent:
		return &Layout{Frontend: Puppet, Mode: modeAgent}, nil
	case entry == "":
		entry = defaultManifest
	}
	e, err := l.entry(ctx, entry, Puppet)
	if err != nil {
		return nil, err
	}
	manifest, err := l.file(ctx, e, manifestName, entry)
	if err != nil {
		return nil, err
	}
	root := &File{Mode: rootMode, Children: []*File{manifest}}
	if l.o.Conf != "" {
		conf, err := l.follow(ctx, l.root(), l.o.Conf, 0)
		if err == nil && conf.why != "" {
			err = refuseSettings(l.o.Conf, conf.lacks()+", and is set as puppet.conf",
				"add it and deploy again, or set puppet.conf to another file")
		}
		if err != nil {
			return nil, err
		}
		f, err := l.file(ctx, conf.file, confName, l.o.Conf)
		if err != nil {
			return nil, err
		}
		root.Children = append(root.Children, f)
	}
	return l.finish(&Layout{Frontend: Puppet, Mode: modeFile, Entry: entry, Root: root})
}
