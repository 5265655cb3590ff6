package bundle_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"refship/deploy/bundle"
	"refship/deploy/fault"
	"refship/deploy/fixture"
	"refship/deploy/record"
	"refship/deploy/store"
)

func TestMain(m *testing.M) { fixture.Main(m) }

const ns = record.Namespace("/refship/config")

var header = bundle.Header{Format: 1, Namespace: ns, Head: 2, Since: 1}

func hex(i, digits int) string { return fmt.Sprintf("%0*x", digits, i*7919) }

// someKeys are keys of all kinds, sorted, and their values.
func someKeys(n, size int) map[string]string {
	keys := map[string]string{
		string(ns) + "/refship/head": "2", string(ns) + "/refship/hold": "x", string(ns) + "/refship/expired": "1",
	}
	for i := range n {
		value := strings.Repeat(fmt.Sprint(i, " "), size)
		keys[fmt.Sprintf("%s/deploy/%d/%s", ns, i+1, record.KeyNames[i%record.NumKeys])] = value
		keys[fmt.Sprintf("%s/refship/object/%s", ns, hex(i, 40))] = value
		keys[fmt.Sprintf("%s/refship/tree/%s", ns, hex(i, 40))] = ""
		keys[fmt.Sprintf("%s/storage/{sha256}%s", ns, hex(i, 64))] = value
		keys[fmt.Sprintf("%s/storage/{sha256}%s/%d", ns, hex(i, 64), i)] = value
	}
	return keys
}

func written(t testing.TB, keys map[string]string) []byte {
	t.Helper()
	b, err := bundle.Written(header, slices.Sorted(maps.Keys(keys)), func(key string) []byte { return []byte(keys[key]) })
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func opened(t testing.TB, b []byte) *bundle.File {
	t.Helper()
	f, err := bundle.FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// A bundle answers what a map of the same keys would, in one block and in many.
func TestQueries(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"one block": 1, "many blocks": 20_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keys := someKeys(40, size)
			f := opened(t, written(t, keys))
			if many := f.Blocks() > 20; many != (size > 1) {
				t.Fatalf("%d blocks", f.Blocks())
			}
			sorted := slices.Sorted(maps.Keys(keys))
			rapid.Check(t, func(t *rapid.T) { checkQuery(t, f, keys, sorted) })
		})
	}
}

// checkQuery asks a question of a bundle, and of a map.
func checkQuery(t *rapid.T, f *bundle.File, keys map[string]string, sorted []string) {
	anyKey := rapid.Custom(func(t *rapid.T) string {
		key := rapid.SampledFrom(sorted).Draw(t, "key")
		return key[:rapid.IntRange(1, len(key)).Draw(t, "length")] + rapid.SampledFrom([]string{"", "", "0", "~"}).Draw(t, "more")
	})
	q := store.Query{Key: anyKey.Draw(t, "key"), NoValue: rapid.Bool().Draw(t, "no value")}
	in := func(key string) bool { return key == q.Key }
	most := rapid.IntRange(1, 50).Draw(t, "most")
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 1:
		q.First, in = most, func(key string) bool { return strings.HasPrefix(key, q.Key) }
	case 2:
		q.First, q.End = most, anyKey.Draw(t, "end")
		in = func(key string) bool { return key >= q.Key && key < q.End }
	case 3:
		q.First, q.After = most, q.Key+rapid.StringMatching(`[0-9a-f]{0,3}`).Draw(t, "after")
		in = func(key string) bool { return strings.HasPrefix(key, q.Key) && key > q.After }
	case 4:
		q.Last, in = most, func(key string) bool { return strings.HasPrefix(key, q.Key) }
	case 5:
		q.Count, in = true, func(key string) bool { return strings.HasPrefix(key, q.Key) }
	case 6:
		q.Count, q.End = true, anyKey.Draw(t, "end")
		in = func(key string) bool { return key >= q.Key && key < q.End }
	}
	var want []string
	for _, key := range sorted {
		if in(key) {
			want = append(want, key)
		}
	}
	found, at, err := f.Read(t.Context(), 0, []store.Query{q})
	if err != nil || at != 1 || len(found) != 1 {
		t.Fatalf("%d answers at %d, %v", len(found), at, err)
	}
	if q.Count {
		if len(found[0]) != 1 || found[0][0].Count != int64(len(want)) {
			t.Fatalf("%+v: %+v, want %d", q, found[0], len(want))
		}
		return
	}
	if q.Last > 0 {
		slices.Reverse(want)
	}
	want = want[:min(len(want), max(1, q.First, q.Last))]
	var got []string
	for _, kv := range found[0] {
		got = append(got, kv.Key)
		if is := string(kv.Value); kv.Revision != 1 || is != keys[kv.Key] && !(q.NoValue && is == "") {
			t.Fatalf("%s at %d has %d bytes", kv.Key, kv.Revision, len(is))
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%+v: got %q, want %q", q, got, want)
	}
}

// readAll opens a bundle and reads all of it.
func readAll(b []byte) error {
	f, err := bundle.FromBytes(b)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.All(func(string, []byte) {})
}

// wantDamaged wants an error that says so, and what to do.
func wantDamaged(t testing.TB, err error, what string) {
	t.Helper()
	if !errors.Is(err, bundle.ErrDamaged) || !fault.Is(err, fault.Corrupt) || fault.RemedyOf(err) == "" ||
		!strings.Contains(fmt.Sprint(err), what) {
		t.Errorf("error is %v, want one with %q", err, what)
	}
}

// Every byte counts: a bundle that is cut off, or has one other bit, is found out at the latest when it is read.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	whole := written(t, someKeys(3, 2))
	if err := readAll(whole); err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		if err := readAll(whole[:i]); !errors.Is(err, bundle.ErrDamaged) {
			t.Errorf("cut off after byte %d of %d: %v", i, len(whole), err)
		}
		other := slices.Clone(whole)
		other[i] ^= 1 << (i % 8)
		if err := readAll(other); !errors.Is(err, bundle.ErrDamaged) {
			t.Errorf("byte %d of %d changed: %v", i, len(whole), err)
		}
	}
	wantDamaged(t, readAll(append(slices.Clone(whole), 0)), "it was cut off, or is no bundle")
	wantDamaged(t, readAll(append(slices.Clone(whole), whole...)), "its index does not end where it ends")
}

// forge makes a bundle of one block of entries, of which the index says what it says.
func forge(t testing.TB, line string, entries ...string) []byte {
	t.Helper()
	frame, raw := bundle.Frame(entries...)
	b, err := bundle.Forged(header, [][]byte{frame}, []string{strings.Replace(line, "RAW", fmt.Sprint(len(raw)), 1)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a hostile hand has made, checksums and all, is found out.
func TestHostile(t *testing.T) {
	t.Parallel()
	one, two := string(ns)+"/deploy/1/hash", string(ns)+"/deploy/2/hash"
	other, lock := "/refship/other/deploy/1/hash", string(ns)+"/refship/lock"
	if err := readAll(forge(t, "RAW 2 "+one+" "+two, one, "a", two, "b")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		bundle []byte
		what   string
	}{
		"twice":            {forge(t, "RAW 3 "+one+" "+two, one, "a", one, "b", two, "c"), "is there twice, or not in order"},
		"not in order":     {forge(t, "RAW 3 "+one+" "+two, one, "a", two, "b", one, "c"), "is there twice, or not in order"},
		"another's key":    {forge(t, "RAW 2 "+one+" "+two, one, "a", other, "b"), "does not belong into"},
		"another's first":  {forge(t, "RAW 1 "+other+" "+other, other, "a"), "does not belong into /refship/config"},
		"a lock":           {forge(t, "RAW 3 "+one+" "+two, one, "a", string(ns)+"/deploy/1/lock", "b", two, "c"), "does not belong"},
		"a lock first":     {forge(t, "RAW 1 "+lock+" "+lock, lock, "a"), "does not belong"},
		"fewer keys":       {forge(t, "RAW 2 "+one+" "+two, one, "a", string(ns)+"/deploy/1/record", "b", two, "c"), "other keys than its index says"},
		"more keys":        {forge(t, "RAW 3 "+one+" "+two, one, "a", two, "b"), "other keys than its index says"},
		"no key":           {forge(t, "RAW 0 "+one+" "+two, one, "a", two, "b"), "has nothing"},
		"another first":    {forge(t, "RAW 2 "+string(ns)+"/deploy/1/record "+two, one, "a", two, "b"), "other keys than its index says"},
		"one that is two":  {forge(t, "RAW 1 "+one+" "+two, one, "a", two, "b"), "not in order"},
		"smaller":          {forge(t, "40 2 "+one+" "+two, one, "a", two, "b"), "another size than its index says"},
		"larger":           {forge(t, "4000 2 "+one+" "+two, one, "a", two, "b"), "another size than its index says"},
		"far too large":    {forge(t, "4000000000 2 "+one+" "+two, one, "a", two, "b"), "a block is too large"},
		"negative":         {forge(t, "-5 2 "+one+" "+two, one, "a", two, "b"), "a line of its index cannot be read"},
		"two, not ordered": {twoBlocks(t, two, one), "keys of its index are not in order"},
		"two, the same":    {twoBlocks(t, one, one), "keys of its index are not in order"},
		"no zstd":          {forged(t, []byte("no frame"), one), ""},
		"no entries":       {forged(t, compressed([]byte("+3,4:one")), one), "an entry of a block is none"},
		"long entries":     {forged(t, compressed([]byte("+9999999999999999999,1:x->y\n")), one), "an entry of a block is none"},
		"no namespace":     {withHeader(t, bundle.Header{Format: 1, Namespace: "config", Head: 1, Since: 1}), `namespace "config"`},
		"no deploys":       {withHeader(t, bundle.Header{Format: 1, Namespace: ns}), "names no deploys"},
		"a later format":   {withHeader(t, bundle.Header{Format: 2, Namespace: ns, Head: 1, Since: 1}), "its format is 2"},
		"nothing":          {nil, "cut off"},
		"a text":           {bytes.Repeat([]byte("no bundle\n"), 40), "begins in another way"},
	} {
		t.Run(name, func(t *testing.T) { wantDamaged(t, readAll(c.bundle), c.what) })
	}
}

func compressed(raw []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(raw, nil)
}

// forged is a bundle of one block with one key, which is this frame.
func forged(t testing.TB, frame []byte, key string) []byte {
	t.Helper()
	size := 8
	if d, err := zstd.NewReader(nil); err == nil {
		raw, _ := d.DecodeAll(frame, nil)
		size = max(size, len(raw))
		d.Close()
	}
	b, err := bundle.Forged(header, [][]byte{frame}, []string{fmt.Sprintf("%d 1 %s %s", size, key, key)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func twoBlocks(t testing.TB, first, second string) []byte {
	t.Helper()
	var frames [][]byte
	var lines []string
	for _, key := range []string{first, second} {
		frame, raw := bundle.Frame(key, "a")
		frames, lines = append(frames, frame), append(lines, fmt.Sprintf("%d 1 %s %s", len(raw), key, key))
	}
	b, err := bundle.Forged(header, frames, lines)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func withHeader(t testing.TB, h bundle.Header) []byte {
	t.Helper()
	b, err := bundle.Written(h, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A block that would decompress to gigabytes takes no more memory than any other.
func TestBomb(t *testing.T) {
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 1 << 10 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	key := string(ns) + "/deploy/1/hash"
	bomb := packed.Bytes()
	for _, frame := range [][]byte{bomb, bytes.Repeat(compressed(zeros), 1<<10)} {
		b, err := bundle.Forged(header, [][]byte{frame}, []string{fmt.Sprintf("%d 1 %s %s", bundle.MaxRaw, key, key)})
		if err != nil {
			t.Fatal(err)
		}
		var read error
		took := fixture.Allocated(func() { read = readAll(b) })
		wantDamaged(t, read, "")
		if took > 64<<20 {
			t.Errorf("%d bytes of a bomb took %d bytes of memory", len(frame), took)
		}
	}
}

// However large a bundle is, few of its blocks are kept.
func TestMemory(t *testing.T) {
	t.Parallel()
	keys := someKeys(60, 100_000) // some 70 MB
	f := opened(t, written(t, keys))
	read := 0
	if err := f.All(func(_ string, value []byte) { read += len(value) }); err != nil || read < 60<<20 {
		t.Fatalf("%d bytes, %v", read, err)
	}
	if f.Cached() > 40<<20 {
		t.Errorf("%d bytes of blocks are kept", f.Cached())
	}
}

// What a bundle may have, and what it may not.
func TestKeys(t *testing.T) {
	t.Parallel()
	oid, sum := strings.Repeat("5d", 20), strings.Repeat("5d", 32)
	for _, name := range []string{
		"/deploy/1/hash", "/deploy/12/record", "/deploy/1/signature", "/deploy/1/payload",
		"/fs/deploy/3-0629e604-e4c8-4947-828a-bb064e6bb467", "/refship/head", "/refship/hold", "/refship/expired",
		"/refship/keep/3", "/refship/events/1764439200000000000", "/refship/log/7", "/refship/checkpoint",
		"/refship/cosignature/12/witness.example+1a2b", "/refship/object/" + oid, "/refship/tree/" + oid,
		"/refship/tree/" + oid + "/0", "/refship/tree/" + sum, "/storage/{sha256}" + sum, "/storage/{sha256}" + sum + "/17",
	} {
		if !bundle.Belongs(ns, string(ns)+name) {
			t.Errorf("%s is left out", name)
		}
	}
	for _, name := range []string{
		"", "/", "/deploy/", "/deploy/1", "/deploy/latest", "/deploy/01/hash", "/deploy/1/other", "/deploy/1/hash/x",
		"/fs/deploy/x", "/fs/other", "/refship/heads", "/refship/lock", "/refship/stored", "/refship/gc", "/refship/node/n1",
		"/refship/alive/n1", "/refship/rollout", "/refship/imported", "/refship/object/" + oid + "/0", "/refship/tree/" + oid + "/01",
		"/refship/tree/" + strings.ToUpper(oid), "/storage/{sha256}" + sum + "/", "/storage/{sha1}" + oid, "/strings/refship/h1",
		"/refship/cosignature/12/a b", "-staging/deploy/1/hash",
	} {
		if bundle.Belongs(ns, string(ns)+name) {
			t.Errorf("%s is let in", name)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add(written(f, someKeys(3, 2)))
	f.Add(written(f, someKeys(30, 2000)))
	one := string(ns) + "/deploy/1/hash"
	f.Add(forge(f, "RAW 1 "+one+" "+one, one, "a"))
	f.Add(forge(f, "RAW 9 "+one+" "+one, one, "a", one, "b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := bundle.FromBytes(b)
		if err != nil {
			if !errors.Is(err, bundle.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		defer file.Close()
		last := string(file.Header.Namespace)
		err = file.All(func(key string, value []byte) {
			if key <= last || !strings.HasPrefix(key, string(file.Header.Namespace)+"/") || len(value) > bundle.MaxRaw {
				t.Fatalf("key %q of %d bytes after %q", key, len(value), last)
			}
			last = key
		})
		if err != nil && !errors.Is(err, bundle.ErrDamaged) {
			t.Fatal(err)
		}
	})
}

// What a block holds, and what the index says of it, are anybody's.
func FuzzBlock(f *testing.F) {
	one, two := string(ns)+"/deploy/1/hash", string(ns)+"/deploy/2/hash"
	_, raw := bundle.Frame(one, "a", two, "b")
	f.Add(raw, int64(2), one, two)
	f.Add(raw, int64(1), one, one)
	f.Add(raw[1:], int64(2), two, one)
	f.Fuzz(func(t *testing.T, raw []byte, keys int64, first, last string) {
		if len(strings.Fields(first)) != 1 || len(strings.Fields(last)) != 1 {
			return
		}
		line := fmt.Sprintf("%d %d %s %s", len(raw), keys, first, last)
		b, err := bundle.Forged(header, [][]byte{compressed(raw)}, []string{line})
		if err != nil {
			return // no line can have such a key
		}
		file, err := bundle.FromBytes(b)
		n := int64(0)
		if err == nil {
			defer file.Close()
			err = file.All(func(string, []byte) { n++ })
		}
		switch {
		case err == nil && n != keys:
			t.Fatalf("%d keys are %d", keys, n)
		case err != nil && !errors.Is(err, bundle.ErrDamaged):
			t.Fatal(err)
		}
	})
}
