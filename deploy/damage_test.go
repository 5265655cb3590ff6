package deploy_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"refship/deploy"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/tree"
)

// damages are what somebody who writes etcd does to one key: its value, and that of another chain's deploy of the same
// id ("": it has none). The result is put, or if it is "" the key is deleted.
var damages = map[string]func(value, other string) string{
	"deleted": func(string, string) string { return "" },
	"altered": func(value, _ string) string {
		middle := len(value) / 2
		return value[:middle] + string(value[middle]^1) + value[middle+1:]
	},
	"swapped":  func(_, other string) string { return other },
	"oversize": func(value, _ string) string { return value + strings.Repeat("9", 1<<20) },
}

// damagedHead is a chain whose head gets damaged and, after each case, whole again.
type damagedHead struct {
	*setup
	head               record.ID
	whole              map[string]string
	next, other, after tree.OID // children of the head, of no commit, and of other
}

func newDamagedHead(t *testing.T, length int, mgmts bool) *damagedHead {
	f := newSetup(t)
	f.mgmts = mgmts
	f.trusting(allow(f.signer))
	staging := *f
	staging.chain = f.store.Chain("/refship/staging")
	var head, theirs []tree.OID
	for i := range length {
		head = []tree.OID{f.repo.commit(fmt.Sprint(i), files{"a": regular(fmt.Sprint(i))}, head...)}
		f.deploy(head[0])
		theirs = []tree.OID{f.repo.commit(fmt.Sprint("their ", i), files{"b": regular(fmt.Sprint(i))}, theirs...)}
		staging.deploy(theirs[0])
	}
	d := &damagedHead{setup: f, head: record.ID(length), whole: f.dump()}
	d.next = f.repo.commit("next", files{"a": regular("next")}, head[0])
	d.other = f.repo.commit("other", files{"a": regular("other")})
	d.after = f.repo.commit("after", files{"a": regular("after")}, d.other)
	return d
}

// key is one of the head's keys.
func (d *damagedHead) key(which int) string {
	return fmt.Sprintf("%s/deploy/%d/%s", namespace, d.head, record.KeyNames[which])
}

// damage does the same to some of the head's keys.
func (d *damagedHead) damage(which []int, how func(value, other string) string) {
	d.Helper()
	for _, which := range which {
		key := d.key(which)
		if value := how(d.whole[key], d.whole[strings.Replace(key, namespace, "/refship/staging", 1)]); value == "" {
			d.delete(key)
		} else {
			d.put(key, value)
		}
	}
}

// mend makes the chain what it was.
func (d *damagedHead) mend() {
	d.Helper()
	now := d.dump()
	for key := range now {
		if _, ok := d.whole[key]; !ok {
			d.delete(key)
		}
	}
	for key, value := range d.whole {
		if now[key] != value {
			d.put(key, value)
		}
	}
}

// refused wants a push to be refused, with the key and a way out. An empty reason takes any.
func (d *damagedHead) refused(t *testing.T, kind fault.Kind, what, reason string) {
	t.Helper()
	before := d.dump()
	_, _, err := d.do(d.job(d.next))
	wantError[*deploy.ConflictError](t, err, what, reason)
	if len(err.Error()) > 500 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
	if fault.KindOf(err) != kind {
		t.Errorf("kind %d, want %d: %v", fault.KindOf(err), kind, err)
	}
	if after := d.dump(); !maps.Equal(before, after) {
		t.Error("etcd has changed")
	}
}

// forced wants force to publish over the head, and all to go on from there.
func (d *damagedHead) forced(t *testing.T) {
	t.Helper()
	job := d.job(d.other)
	job.Force, job.Reason = true, "etcd was changed"
	forced, _, err := d.do(job)
	if err != nil || forced.ID != d.head+1 || !forced.Record.Forced {
		t.Fatalf("forced: %+v, %v", forced, err)
	}
	next, _, err := d.do(d.job(d.after))
	if err != nil || next.ID != d.head+2 || next.Record.Forced || next.Record.Chain != forced.Record.Chain {
		t.Fatalf("the next push: %+v, %v", next, err)
	}
	d.readable(t, map[record.ID]bool{d.head: true})
}

// readable reads all deploys, and wants those that are damaged to be told.
func (d *damagedHead) readable(t *testing.T, damaged map[record.ID]bool) {
	t.Helper()
	head, err := d.chain.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := head.ID
	err = d.chain.Log(t.Context(), 0, func(one *record.Deploy) error {
		if one.ID != want || (one.Damage != nil) != damaged[one.ID] {
			t.Errorf("deploy %d, want %d: damage %v", one.ID, want, one.Damage)
		}
		want--
		if one.Record == nil {
			return nil
		}
		return d.chain.List(t.Context(), one, "", true, func(string, tree.Entry) error { return nil })
	})
	if err != nil || want != 0 {
		t.Errorf("log down to %d: %v", want+1, err)
	}
}

// subsets are all choices of some of the keys.
func subsets(keys ...int) (all [][]int) {
	for bits := 1; bits < 1<<len(keys); bits++ {
		var one []int
		for i, key := range keys {
			if bits>>i&1 == 1 {
				one = append(one, key)
			}
		}
		all = append(all, one)
	}
	return all
}

func keyNames(which []int) string {
	var names []string
	for _, key := range which {
		names = append(names, record.KeyNames[key])
	}
	return strings.Join(names, ", ")
}

// Whatever somebody does to the head's keys: a push says so, and force publishes over it.
func TestForceOverAnyDamageOfTheHead(t *testing.T) {
	t.Parallel()
	for _, length := range []int{1, 2} {
		d := newDamagedHead(t, length, false)
		for how, damage := range damages {
			for _, which := range subsets(record.KeyHash, record.KeyRecord, record.KeySignature) {
				for _, payload := range []bool{false, true} {
					if how == "deleted" && len(which) == 3 && !payload || how != "deleted" && payload {
						continue // nothing is left: the head is the one below; or the payload is of no matter
					}
					t.Run(fmt.Sprintf("%d, %s %s, payload %t", length, keyNames(which), how, payload), func(t *testing.T) {
						d.damage(which, damage)
						if payload {
							d.put(d.key(record.KeyPayload), "payload")
						}
						gone := how == "deleted" && slices.Contains(which, record.KeyRecord) &&
							slices.Contains(which, record.KeySignature)
						if gone && payload && length == 1 { // it looks like mgmt's
							d.refused(t, fault.Refused, "the deploys in /refship/config are mgmt's", "head-foreign push 1")
						} else {
							d.refused(t, fault.Corrupt, fmt.Sprintf("verify %s/deploy/%d/", namespace, length),
								fmt.Sprintf("head-damaged push %d", length))
						}
						d.forced(t)
						d.mend()
					})
				}
			}
		}
	}
}

// In mgmt's namespaces a deploy without a record is no damage. What is refused can be forced there, too.
func TestForceOverAnyDamageOfMgmtsHead(t *testing.T) {
	t.Parallel()
	for _, length := range []int{1, 2} {
		d := newDamagedHead(t, length, true)
		for how, damage := range damages {
			for _, which := range subsets(record.KeyHash, record.KeyRecord, record.KeySignature, record.KeyPayload) {
				if how == "deleted" && len(which) == 4 {
					continue // nothing is left: the head is the one below
				}
				if length == 1 && how != "deleted" && len(which) > 1 {
					continue // as in a longer chain; with refship's own head each is tried
				}
				t.Run(fmt.Sprintf("%d, %s %s", length, keyNames(which), how), func(t *testing.T) {
					d.damage(which, damage)
					foreign := how == "deleted" && slices.Contains(which, record.KeyRecord) &&
						slices.Contains(which, record.KeySignature) && !slices.Contains(which, record.KeyPayload)
					sound := slices.Equal(which, []int{record.KeyPayload})
					switch hash := !slices.Contains(which, record.KeyHash); {
					case foreign && hash: // it looks like mgmt's, but for the log
						d.refused(t, fault.Corrupt, "verify "+own+"checkpoint", fmt.Sprintf("log-damaged push %d", length))
						d.forcedOverForeign(t)
					case sound:
						if next, _, err := d.do(d.job(d.next)); err != nil || next.ID != d.head+1 {
							t.Fatalf("the next push: %+v, %v", next, err)
						}
						d.readable(t, nil)
					case foreign:
						d.refused(t, fault.Conflict, "that deploy has no hash", fmt.Sprintf("head-without-hash push %d", length))
						d.forcedOverForeign(t)
					default:
						d.refused(t, fault.Corrupt, fmt.Sprintf("verify %s/deploy/%d/", namespace, length),
							fmt.Sprintf("head-damaged push %d", length))
						d.forced(t)
					}
					d.mend()
				})
			}
		}
	}
}

func (d *damagedHead) forcedOverForeign(t *testing.T) {
	t.Helper()
	job := d.job(d.other)
	job.Force, job.Reason = true, "mgmt's"
	if forced, _, err := d.do(job); err != nil || forced.ID != d.head+1 {
		t.Fatalf("forced: %+v, %v", forced, err)
	}
	d.readable(t, nil)
}

// What else may stand at the head's keys, or beyond them.
func TestForceOverWhatSomebodyMadeUp(t *testing.T) {
	t.Parallel()
	d := newDamagedHead(t, 2, false)
	text := d.whole[d.key(record.KeyRecord)]
	for name, c := range map[string]struct {
		put    map[string]string // by key below NS/deploy/
		what   string
		reason string
		kind   fault.Kind
		head   record.ID
	}{
		"a later format": {map[string]string{"2/record": `{"format":2}`}, "the record has format 2", "head-newer push 2",
			fault.Failed, 2},
		"a long number": {map[string]string{"2/record": `{"format":` + strings.Repeat("9", 1<<20) + "}"},
			"record is not readable", "head-damaged push 2", fault.Corrupt, 2},
		"a later format below, too": {map[string]string{"1/record": `{"format":2}`, "2/record": "{"}, "not readable",
			"head-damaged push 2", fault.Corrupt, 2},
		"another frontend, unsigned": {map[string]string{"2/signature": "", "2/record": strings.Replace(strings.Replace(text,
			`"frontend":"files"`, `"frontend":"lang"`, 1), `"signer":"`, `"signer":"","no":"`, 1)}, "its record is not signed",
			"head-untrusted push 2", fault.Corrupt, 2},
		"a hash above": {map[string]string{"3/hash": strings.Repeat("ab", 20)},
			"deploy/3/record: the record is missing, its hash is there", "head-damaged push 3", fault.Corrupt, 3},
		"a signature above": {map[string]string{"3/signature": "x"},
			"deploy/3/record: the record is missing, its signature is there", "head-damaged push 3", fault.Corrupt, 3},
		"a payload above": {map[string]string{"3/payload": "x"}, "deploy/3/record: the record is missing",
			"head-damaged push 3", fault.Corrupt, 3},
		"a payload far above": {map[string]string{"5000000/payload": "x"}, "deploy/4999999/record: deploy 4999999 is missing",
			"head-damaged push 5000000", fault.Corrupt, 5000000},
	} {
		t.Run(name, func(t *testing.T) {
			defer d.mend()
			for key, value := range c.put {
				if key = namespace + "/deploy/" + key; value == "" {
					d.delete(key)
				} else {
					d.put(key, value)
				}
			}
			d.put(own+"head", c.head.String())
			d.refused(t, c.kind, c.what, c.reason)
			job := d.job(d.other)
			job.Force, job.Reason = true, "etcd was changed"
			forced, _, err := d.do(job)
			if err != nil || forced.ID != c.head+1 {
				t.Fatalf("forced: %+v, %v", forced, err)
			}
			d.sameAsGit(forced)
			if next, _, err := d.do(d.job(d.after)); err != nil || next.ID != c.head+2 {
				t.Fatalf("the next push: %+v, %v", next, err)
			}
		})
	}
	// Above the last id there is none: it has to go.
	d.put(own+"head", record.MaxID.String())
	d.put(fmt.Sprintf("%s/deploy/%d/hash", namespace, record.MaxID), "x")
	_, _, err := d.do(d.job(d.next))
	fixture.WantFault(t, fault.Corrupt, err, "no id is left for the next deploy",
		"etcdctl del --prefix /refship/config/deploy/9007199254740992/")
	d.delete(fmt.Sprintf("%s/deploy/%d/hash", namespace, record.MaxID))
	if next, _, err := d.do(d.job(d.next)); err != nil || next.ID != 3 {
		t.Errorf("afterwards: %+v, %v", next, err)
	}
}

// A deploy that is missing in the middle is damage of that one. What needs nothing of it goes on.
func TestMissingDeploys(t *testing.T) {
	t.Parallel()
	d := newDamagedHead(t, 5, false)
	for name, c := range map[string]struct {
		delete  []string // below NS/deploy/
		damaged []record.ID
	}{
		"all of 3":             {[]string{"3/hash", "3/record", "3/signature"}, []record.ID{3}},
		"3's record":           {[]string{"3/record"}, []record.ID{3}},
		"3's hash":             {[]string{"3/hash"}, []record.ID{3}},
		"3's signature":        {[]string{"3/signature"}, []record.ID{3}},
		"all of 1":             {[]string{"1/hash", "1/record", "1/signature"}, []record.ID{1}},
		"all of 4":             {[]string{"4/hash", "4/record", "4/signature"}, []record.ID{4}},
		"4's record":           {[]string{"4/record", "4/signature"}, []record.ID{4}},
		"2, 3 and 4":           {[]string{"2/", "3/", "4/"}, []record.ID{2, 3, 4}},
		"all below":            {[]string{"1/", "2/", "3/", "4/"}, []record.ID{1, 2, 3, 4}},
		"3, and 5's record":    {[]string{"3/", "5/record"}, []record.ID{3, 5}},
		"4, and 5's hash":      {[]string{"4/", "5/hash"}, []record.ID{4, 5}},
		"all, but for 5's sig": {[]string{"1/", "2/", "3/", "4/", "5/hash", "5/record"}, []record.ID{1, 2, 3, 4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			defer d.mend()
			for key := range d.whole {
				for _, prefix := range c.delete {
					if strings.HasPrefix(key, namespace+"/deploy/"+prefix) {
						d.delete(key)
					}
				}
			}
			damaged := map[record.ID]bool{}
			for _, id := range c.damaged {
				damaged[id] = true
				_, err := d.chain.Get(t.Context(), id)
				fixture.WantFault(t, fault.Corrupt, err, fmt.Sprintf("%s/deploy/%d/", namespace, id), "backup")
			}
			job := d.job(d.next)
			if damaged[5] {
				d.refused(t, fault.Corrupt, "verify /refship/config/deploy/5/", "head-damaged push 5")
				job.Force, job.Reason = true, "etcd was changed"
			}
			next, _, err := d.do(job)
			if err != nil || next.ID != 6 || next.Record.Forced != damaged[5] {
				t.Fatalf("the next push: %+v, %v", next, err)
			}
			d.readable(t, damaged)
			job = d.job(d.other)
			job.Force, job.Reason = true, "another line"
			if forced, _, err := d.do(job); err != nil || forced.ID != 7 {
				t.Fatalf("forced: %+v, %v", forced, err)
			}
			d.readable(t, damaged)
		})
	}
}
