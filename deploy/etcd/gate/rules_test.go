package gate_test

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"refship/deploy/etcd/gate"
)

// ranges makes a request of one range, or of several as a txn.
func ranges(all ...*pb.RangeRequest) proto.Message {
	if len(all) == 1 {
		return all[0]
	}
	txn := new(pb.TxnRequest)
	for _, one := range all {
		txn.Success = append(txn.Success, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: one}})
	}
	return txn
}

// below is a range of all keys that begin with a prefix below the namespace.
func below(prefix string, change func(*pb.RangeRequest)) *pb.RangeRequest {
	r := &pb.RangeRequest{Key: []byte(ns + prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(ns + prefix))}
	if change != nil {
		change(r)
	}
	return r
}

func limit(n int64) func(*pb.RangeRequest) { return func(r *pb.RangeRequest) { r.Limit = n } }
func keysOnly(r *pb.RangeRequest)          { r.KeysOnly = true }
func fewKeys(r *pb.RangeRequest)           { r.KeysOnly, r.Limit = true, 128 }
func countOnly(r *pb.RangeRequest)         { r.CountOnly = true }
func sorted(r *pb.RangeRequest)            { r.SortOrder, r.Limit = pb.RangeRequest_DESCEND, 100 }
func since(r *pb.RangeRequest)             { r.MinModRevision, r.Limit = 7, 100 }

// of gives a request of n times the same range.
func of(n int, one *pb.RangeRequest) proto.Message {
	return ranges(slices.Repeat([]*pb.RangeRequest{one}, n)...)
}

// compared is a txn that compares a range below a prefix.
func compared(n int, prefix string) proto.Message {
	one := &pb.Compare{Key: []byte(ns + prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(ns + prefix))}
	return &pb.TxnRequest{Compare: slices.Repeat([]*pb.Compare{one}, n)}
}

func watched(from, end string, filters ...pb.WatchCreateRequest_FilterType) proto.Message {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(from), RangeEnd: []byte(end), Filters: filters,
	}}}
}

func watchedSince(revision int64, from, end string) proto.Message {
	return &pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(from), RangeEnd: []byte(end), StartRevision: revision,
	}}}
}

func TestRules(t *testing.T) {
	single := &pb.RangeRequest{Key: []byte(ns + "/deploy/1/hash")}
	content := &pb.RangeRequest{Key: []byte(ns + "/storage/{sha256}0")}
	raw := func(key, end string) *pb.RangeRequest {
		return &pb.RangeRequest{Key: []byte(key), RangeEnd: []byte(end), Limit: 1}
	}
	unknown := &pb.RangeRequest{Key: single.Key}
	unknown.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	for name, c := range map[string]struct {
		request proto.Message
		ok      bool
	}{
		"a key":                          {single, true},
		"128 keys":                       {of(128, single), true},
		"129 keys":                       {of(129, single), false},
		"128 contents":                   {of(128, content), true},
		"a range without a limit":        {below("/deploy/", nil), false},
		"with a negative limit":          {below("/deploy/", limit(-1)), false},
		"with a limit":                   {below("/deploy/", limit(1024)), true},
		"with a high limit":              {below("/deploy/", limit(1025)), false},
		"with a huge limit":              {of(2, below("/deploy/", limit(1<<62))), false},
		"with two high limits":           {of(2, below("/deploy/", limit(1000))), false},
		"of keys":                        {below("/deploy/", keysOnly), true},
		"of counts":                      {below("/deploy/", countOnly), true},
		"sorted":                         {below("/refship/events/", sorted), true},
		"of later revisions":             {below("/refship/events/", since), true},
		"8 ranges":                       {of(8, below("/deploy/", limit(1))), true},
		"9 ranges":                       {of(9, below("/deploy/", limit(1))), false},
		"9 counts":                       {of(9, below("/deploy/", countOnly)), false},
		"contents without a limit":       {below("/storage/", nil), false},
		"contents with a limit":          {below("/storage/", limit(128)), true},
		"with too high a limit":          {below("/storage/", limit(129)), false},
		"keys of contents":               {below("/storage/", keysOnly), false},
		"keys of contents with a limit":  {below("/refship/tree/", fewKeys), true},
		"counts of contents":             {below("/storage/", countOnly), true},
		"sorted contents":                {below("/storage/", sorted), false},
		"contents of later revisions":    {below("/refship/object/", since), false},
		"sorted, with contents in it":    {below("/refship/", sorted), false},
		"sorted up to contents":          {raw(ns+"/refship/a", ns+"/refship/object/"), true},
		"keys, one content in it":        {below("/refship/o", keysOnly), false},
		"an empty key":                   {raw("", ""), false},
		"all":                            {raw("\x00", "\x00"), false},
		"all from a key on":              {raw(ns+"/deploy/", "\x00"), false},
		"backwards":                      {raw(ns+"/deploy/2", ns+"/deploy/1"), false},
		"none":                           {raw(ns+"/deploy/2", ns+"/deploy/2"), false},
		"to the end of a space":          {raw(ns+"/deploy/2", ns+"/deploy0"), true},
		"one further":                    {raw(ns+"/deploy/2", ns+"/deploy0\x00"), false},
		"over two spaces":                {raw(ns+"/deploy/2", ns+"/fs/"), false},
		"the space's own name":           {raw(ns+"/deploy", ""), false},
		"a sibling":                      {raw(ns+"-staging/deploy/1/hash", ""), false},
		"into a sibling":                 {raw(ns+"/storage/", ns+"0"), false},
		"another namespace":              {raw("/refship/site/deploy/1/hash", ""), false},
		"the namespace in another place": {raw("/x"+ns+"/deploy/1/hash", ""), false},
		"another key below":              {raw(ns+"/other", ""), false},
		"an unknown field":               {unknown, false},
		"an unknown field in a txn":      {ranges(single, unknown), false},
		"an empty operation":             {&pb.TxnRequest{Success: []*pb.RequestOp{{}}}, false},
		"an empty txn":                   {new(pb.TxnRequest), true},
		"a compared range":               {compared(1, "/refship/node/"), true},
		"compared contents":              {compared(1, "/refship/tree/"), false},
		"9 compared ranges":              {compared(9, "/refship/node/"), false},
		"129 compares": {&pb.TxnRequest{
			Compare: slices.Repeat([]*pb.Compare{{Key: single.Key}}, 129)}, false},
		"a watch":                 {watched(ns+"/deploy/", ns+"/deploy0"), true},
		"a watched key":           {watched(ns+"/refship/head", ""), true},
		"a watch of all":          {watched("", "\x00"), false},
		"a watch from a key on":   {watched(ns+"/deploy/", "\x00"), false},
		"a watched sibling":       {watched(ns+"-staging/deploy/", ns+"-staging/deploy0"), false},
		"watched contents":        {watched(ns+"/storage/", ns+"/storage0"), true},
		"a watch of the past":     {watchedSince(1, ns+"/deploy/", ns+"/deploy0"), true}, // see TestWatchOfThePast
		"filters":                 {watched(ns+"/refship/head", "", 0, 1), true},
		"many filters":            {watched(ns+"/refship/head", "", 0, 1, 0), false},
		"a watch's end":           {&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CancelRequest{}}, true},
		"no watch":                {new(pb.WatchRequest), false},
		"a message of other kind": {&pb.PutRequest{Key: single.Key}, false},
	} {
		err := gate.Check(ns, c.request)
		if (err == nil) != c.ok || err != nil && status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A call is forwarded with hasleader, and with nothing else that the client sends beside it.
func TestMetadata(t *testing.T) {
	for _, c := range []struct {
		came metadata.MD
		want bool
	}{
		{nil, false},
		{metadata.Pairs("token", "x", rpctypes.MetadataRequireLeaderKey, rpctypes.MetadataHasLeader), true},
		{metadata.Pairs("token", "x", rpctypes.MetadataRequireLeaderKey, "x"), false},
	} {
		went, _ := metadata.FromOutgoingContext(gate.RequireLeader(metadata.NewIncomingContext(t.Context(), c.came)))
		has := slices.Equal(went.Get(rpctypes.MetadataRequireLeaderKey), []string{rpctypes.MetadataHasLeader})
		if has != c.want || has && len(went) != 1 || !has && len(went) != 0 {
			t.Errorf("of %v went %v", c.came, went)
		}
	}
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		n          int
		pause      time.Duration
		last, next time.Duration
	}{
		{1, 0, -1998 * time.Millisecond, -1996 * time.Millisecond},
		{1000, 0, 0, 2 * time.Millisecond},
		{1500, 0, time.Second, 1002 * time.Millisecond},
		{1500, time.Second, time.Second, 2 * time.Millisecond},
		{1500, time.Hour, time.Second, -1998 * time.Millisecond},
	} {
		if last, next := gate.Pace(c.n, c.pause); last != c.last || next != c.next {
			t.Errorf("after %d requests: %s; after %s: %s", c.n, last, c.pause, next)
		}
	}
}

// FuzzRequest reads each request that passes as etcd would read it, from the bytes that the gate sends on: it must
// touch no key outside.
func FuzzRequest(f *testing.F) {
	for _, one := range []proto.Message{
		&pb.RangeRequest{Key: []byte(ns + "/deploy/1/hash")}, below("/refship/events/", sorted),
		below("/storage/", limit(5)), &pb.RangeRequest{Key: []byte(ns + "-staging/deploy/1/hash")},
		&pb.RangeRequest{Key: []byte(ns + "/deploy/"), RangeEnd: []byte{0}, Limit: 1},
		&pb.RangeRequest{Key: []byte(ns + "/deploy/"), RangeEnd: []byte(ns + "/deploy0\x00"), Limit: 1},
	} {
		text, err := proto.Marshal(one)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(0, text)
		f.Add(0, append(text, 0x12, 0))              // an empty range_end, written out
		f.Add(0, append(text, 0x0a, 1, 'x'))         // a second key
		f.Add(1, protoField(2, protoField(1, text))) // in a txn
		f.Add(1, protoField(3, protoField(1, text))) // in its else
		f.Add(1, protoField(2, protoField(2, text))) // as a put
		f.Add(1, protoField(2, append(protoField(1, text), protoField(1, nil)...)))
		f.Add(1, protoField(2, protoField(4, protoField(2, protoField(1, text)))))
		f.Add(1, protoField(1, slices.Concat(protoField(3, []byte(ns+"/refship/head")), []byte{0x82, 4, 0})))
		f.Add(2, protoField(1, text))
	}
	f.Fuzz(func(t *testing.T, kind int, text []byte) {
		request := []proto.Message{new(pb.RangeRequest), new(pb.TxnRequest), new(pb.WatchRequest)}[uint(kind)%3]
		if proto.Unmarshal(text, request) != nil || gate.Check(ns, request) != nil {
			return
		}
		sent, err := proto.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		o := oracle{t: t}
		switch request.(type) {
		case *pb.RangeRequest:
			o.span(sent, 1, 2)
		case *pb.TxnRequest:
			o.txn(sent)
		case *pb.WatchRequest:
			for _, create := range fields(t, sent)[1] {
				o.span(create, 1, 2)
			}
		}
	})
}

// protoField writes a field of bytes.
func protoField(number protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
}

// fields gives the fields of a message that are bytes or messages.
func fields(t *testing.T, text []byte) map[protowire.Number][][]byte {
	t.Helper()
	found := map[protowire.Number][][]byte{}
	for len(text) > 0 {
		number, kind, n := protowire.ConsumeTag(text)
		if n < 0 {
			t.Fatalf("%q is no message", text)
		}
		text = text[n:]
		if kind == protowire.BytesType {
			value, n := protowire.ConsumeBytes(text)
			if n < 0 {
				t.Fatalf("%q is no message", text)
			}
			found[number] = append(found[number], value)
		}
		n = protowire.ConsumeFieldValue(number, kind, text)
		if n < 0 {
			t.Fatalf("%q is no message", text)
		}
		text = text[n:]
	}
	return found
}

// oracle finds keys that a request touches, and that are outside.
type oracle struct{ t *testing.T }

var inside = regexp.MustCompile(`^/refship/config/(deploy|storage|fs|refship)/`)

// probes are keys near the spaces.
var probes = func() (all []string) {
	for _, space := range []string{"/deploy/", "/storage/", "/fs/", "/refship/"} {
		end := clientv3.GetPrefixRangeEnd(ns + space)
		all = append(all, strings.TrimSuffix(ns+space, "/"), end, end+"\x00", ns+"-staging"+space, ns+"0"+space)
	}
	return append(all, "\x00", "/", ns, ns+"/", ns+"/other", "/refship/site/deploy/1/hash", "\xff", "\xff\xff")
}()

func (o oracle) txn(text []byte) {
	all := fields(o.t, text)
	for _, compare := range all[1] {
		o.span(compare, 3, 64)
	}
	for _, op := range slices.Concat(all[2], all[3]) {
		ops := fields(o.t, op)
		if len(ops) != 1 || len(ops[1]) != 1 {
			o.t.Errorf("an operation is not one range: %q", op)
		}
		for _, one := range ops[1] {
			o.span(one, 1, 2)
		}
	}
}

// span takes the last of several keys, and an end that is written out and empty for no end, as etcd 3.4 does.
func (o oracle) span(text []byte, keyField, endField protowire.Number) {
	all := fields(o.t, text)
	var key []byte
	if n := len(all[keyField]); n > 0 {
		key = all[keyField][n-1]
	}
	touched := func(probe string) bool { return probe == string(key) }
	tried := append(slices.Clone(probes), string(key), string(key)+"\x00")
	if n := len(all[endField]); n > 0 {
		end := all[endField][n-1]
		isOpen := len(end) == 0 || bytes.Equal(end, []byte{0})
		touched = func(probe string) bool { return probe >= string(key) && (isOpen || probe < string(end)) }
		if !isOpen { // the last keys before the end
			last := slices.Clone(end)
			last[len(last)-1]--
			tried = append(tried, string(last)+"\xff\xff", string(end[:len(end)-1]))
		}
	}
	for _, probe := range tried {
		if touched(probe) && !inside.MatchString(probe) {
			o.t.Errorf("%q touches %q", text, probe)
		}
	}
}
