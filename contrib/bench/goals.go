package main

// goal is a bound that refship means to keep.
type goal struct {
	Name  string
	Most  float64
	Least bool // Most is the least that it may be
	Of    key  // the figure itself, if Over is empty, or the dividend
	Over  *key // the divisor
}

// ratio is a goal for two figures, of which the first may be at most so many times the second.
func ratio(name string, most float64, of, over key) goal {
	return goal{Name: name, Most: most, Of: of, Over: &over}
}

// goals are those of "make bench". A goal whose figures were not measured is left out of the table.
func goals() (all []goal) {
	for _, size := range []string{"S", "M", "L"} {
		all = append(all, pushGoals(size)...)
	}
	phase := func(size string) key { return key{"deploy phase of one file", size, embeddedName, "ms"} }
	first := func(name string) key { return key{"first push", "L", name, "ms"} }
	own := func(n string) key { return key{ownMemory + n, "L", embeddedName, "MiB"} }
	node := func(size, name string) key { return key{"publish to switched", size, name, "ms"} }
	all = append(all,
		ratio("deploy phase of one file: M / S", 1.2, phase("M"), phase("S")),
		ratio("deploy phase of one file: L / S", 1.2, phase("L"), phase("S")),
		ratio("deploy phase of one file: X / S", 1.5, phase("X"), phase("S")),
		ratio("first push of L: refship / sshd", 1.10, first(embeddedName), first(sshdName)),
		ratio("first push of L: refship with an external etcd / sshd", 1.15, first(externalName), first(sshdName)),
		goal{Name: "growth of the database by one file in L, KiB", Most: 48, Of: key{growthOf, "L", embeddedName, "KiB"}},
		goal{Name: "peak memory of a first push of L, MiB", Most: 450e6 / (1 << 20), Of: key{peakMemory, "L", embeddedName, "MiB"}},
		ratio("own memory after four pushes of new content / after one", 1.2, own("4"), own("1")),
		goal{Name: "publish to switched of one file in S, ms", Most: 50, Of: node("S", agentName)},
		ratio("publish to switched of one file in L / cp -a of the tree", 1.5, node("L", agentName), node("L", copyName)))
	for _, size := range []string{"L", "R"} {
		content := func(name string) key { return key{firstContent, size, name, "MB/s"} }
		puts := func(name string) key { return key{"etcd's own puts", size, name, "MB/s"} }
		embedded := ratio("content of a first "+size+" in the deploy phase / etcd's own puts", 2, content(embeddedName), puts(embeddedName))
		external := ratio("the same with an external etcd, "+size, 1.5, content(externalName), puts(externalName))
		embedded.Least, external.Least = true, true
		all = append(all, embedded, external)
	}
	many := func(what, name string) key { return key{what + " after many", "S", name, "ms"} }
	for _, what := range []string{"push", "log -n 20"} {
		all = append(all, ratio(what+" after many pushes / after ten", 1.2, many(what, "old"), many(what, "young")))
	}
	all = append(all, ratio("clone after many pushes / of the same commits in one pack", 1.3, many("clone", "old"),
		many("clone", "one pack")))
	for _, one := range []struct {
		size string
		most float64
	}{{"S", 1.0}, {"M", 1.0}, {"L", 0.5}} {
		checkout := func(name string) key { return key{"checkout", one.size, name, "ms"} }
		all = append(all, ratio("checkout of "+one.size+": refship / git clone --depth 1", one.most,
			checkout("refship checkout"), checkout("git clone --depth 1")))
	}
	return all
}

// pushGoals are those for pushes to a repository that holds a corpus.
func pushGoals(size string) []goal {
	one := func(name string) key { return key{"one file", size, name, "ms"} }
	nothing := func(name string) key { return key{"nothing to push", size, name, "ms"} }
	return []goal{
		ratio("one file, "+size+": refship / sshd", 0.20, one(embeddedName), one(sshdName)),
		ratio("one file, "+size+": refship / sshd with curve25519", 0.30, one(embeddedName), one(curveName)),
		ratio("one file, "+size+": refship / refship without a target", 1.10, one(embeddedName), one(plainName)),
		ratio("nothing to push, "+size+": refship / refship without a target", 1.05, nothing(embeddedName), nothing(plainName)),
	}
}

// reached is a goal beside what was measured.
type reached struct {
	Goal string  `json:"goal"`
	Must string  `json:"must"` // such as "≤ 0.20"
	Is   float64 `json:"is"`
	Met  bool    `json:"met"`
}

// judge gives a goal's figure; false: it was not measured.
func (r *results) judge(g goal) (reached, bool) {
	is, measured := r.median(g.Of)
	if measured && g.Over != nil {
		var over float64
		if over, measured = r.median(*g.Over); measured {
			is /= over
		}
	}
	sign, met := "≤ ", is <= g.Most
	if g.Least {
		sign, met = "≥ ", is >= g.Most
	}
	return reached{g.Name, sign + number(g.Most), is, met}, measured
}
