package gate

import (
	"bytes"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"refship/deploy/etcd"
)

// What one request may ask for.
const (
	maxOps      = etcd.MaxOps // in each branch of a txn, and compares
	maxRanges   = 8
	maxKeys     = 1024 // that come with their values
	maxContents = 128  // of those, contents
	maxBehind   = 100  // revisions before the last one, from which a watch may begin
)

// rules say what may be read in a namespace.
type rules struct {
	spaces   []string // prefixes that all keys are below
	contents []string // prefixes of large values
}

func newRules(namespace string) rules {
	below := func(names ...string) (prefixes []string) {
		for _, name := range names {
			prefixes = append(prefixes, namespace+"/"+name+"/")
		}
		return prefixes
	}
	return rules{
		spaces:   below("deploy", "storage", "fs", "refship", "strings/refship"),
		contents: below("storage", "fs", "refship/tree", "refship/object"),
	}
}

// refuse makes the error of a request that does not pass.
func refuse(format string, args ...any) error {
	return status.Error(codes.PermissionDenied, "refused by the server's gate: "+fmt.Sprintf(format, args...))
}

// check refuses a request that asks for what may not be read, or for too much at once. mayPut refuses a put.
func (r rules) check(request proto.Message, mayPut func(*pb.PutRequest) error) error {
	if hasUnknown(request.ProtoReflect()) {
		return refuse("the request has a field that the server does not know")
	}
	switch q := request.(type) {
	case *pb.RangeRequest:
		var asked amount
		return r.checkRange(q, &asked)
	case *pb.TxnRequest:
		return r.checkTxn(q, mayPut)
	case *pb.PutRequest:
		return mayPut(q)
	case *pb.WatchRequest:
		return r.checkWatch(q)
	}
	return refuse("%s", request.ProtoReflect().Descriptor().FullName())
}

// hasUnknown tells whether a message, or one in it, has fields that this program does not know.
func hasUnknown(m protoreflect.Message) bool {
	if len(m.GetUnknown()) > 0 {
		return true
	}
	found := false
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() == nil:
		case field.IsList():
			for i := range value.List().Len() {
				found = found || hasUnknown(value.List().Get(i).Message())
			}
		default:
			found = hasUnknown(value.Message())
		}
		return !found
	})
	return found
}

// amount is what a request, or a branch of a txn, asks for.
type amount struct{ ranges, keys, contents int64 }

// add counts a range of so many keys.
func (a *amount) add(isContent bool, keys int64) error {
	a.keys += keys
	if isContent {
		a.contents += keys
	}
	if a.keys > maxKeys || a.contents > maxContents {
		return refuse("it asks for more than %d keys, or %d contents, at once", maxKeys, maxContents)
	}
	return nil
}

// addRange counts a range, however many keys it has.
func (a *amount) addRange() error {
	if a.ranges++; a.ranges > maxRanges {
		return refuse("it asks for more than %d ranges at once", maxRanges)
	}
	return nil
}

// span checks that a key, or the range from key to end, is wholly below one of the spaces. It tells whether contents
// may be in it.
func (r rules) span(key, end []byte) (isContent bool, err error) {
	for _, space := range r.spaces {
		if !bytes.HasPrefix(key, []byte(space)) {
			continue
		}
		switch past := clientv3.GetPrefixRangeEnd(space); {
		case len(end) == 0:
		case bytes.Compare(end, key) <= 0: // also "\x00", which is no end at all
			return false, refuse("the range from %q to %q is none, or has no end", key, end)
		case string(end) > past:
			return false, refuse("the range from %q to %q leaves %s", key, end, space)
		}
		return r.hasContents(key, end), nil
	}
	return false, refuse("key %q is not below %s", key, strings.Join(r.spaces, ", "))
}

// hasContents tells whether contents may be in a span.
func (r rules) hasContents(key, end []byte) bool {
	for _, prefix := range r.contents {
		// The span and the prefix's own range overlap.
		if bytes.HasPrefix(key, []byte(prefix)) ||
			len(end) > 0 && string(key) < prefix && string(end) > prefix {
			return true
		}
	}
	return false
}

func (r rules) checkRange(q *pb.RangeRequest, asked *amount) error {
	isContent, err := r.span(q.Key, q.RangeEnd)
	switch {
	case err != nil:
		return err
	case len(q.RangeEnd) == 0:
		return asked.add(isContent, 1)
	}
	if err := asked.addRange(); err != nil || q.CountOnly {
		return err
	}
	isWhole := q.SortOrder != pb.RangeRequest_NONE || // etcd reads all of it, whatever the limit
		q.MinModRevision != 0 || q.MaxModRevision != 0 || q.MinCreateRevision != 0 || q.MaxCreateRevision != 0
	switch {
	case isContent && isWhole:
		return refuse("contents are not sorted, and not chosen by revisions")
	case q.Limit > maxKeys || q.Limit <= 0 && (isContent || !q.KeysOnly):
		return refuse("the range from %q to %q has no limit, or one above %d", q.Key, q.RangeEnd, maxKeys)
	case q.Limit <= 0:
		return nil
	}
	return asked.add(isContent, q.Limit)
}

func (r rules) checkTxn(q *pb.TxnRequest, mayPut func(*pb.PutRequest) error) error {
	if max(len(q.Compare), len(q.Success), len(q.Failure)) > maxOps {
		return refuse("a txn has at most %d operations", maxOps)
	}
	var compared amount
	for _, c := range q.Compare {
		isContent, err := r.span(c.Key, c.RangeEnd)
		switch {
		case err != nil:
		case len(c.RangeEnd) == 0:
			err = compared.add(isContent, 1)
		case isContent:
			err = refuse("contents are not compared by ranges")
		default:
			err = compared.addRange()
		}
		if err != nil {
			return err
		}
	}
	for _, branch := range [][]*pb.RequestOp{q.Success, q.Failure} {
		asked := amount{ranges: compared.ranges}
		for _, op := range branch {
			var err error
			switch one := op.Request.(type) {
			case *pb.RequestOp_RequestRange:
				err = r.checkRange(one.RequestRange, &asked)
			case *pb.RequestOp_RequestPut:
				err = mayPut(one.RequestPut)
			default:
				err = refuse("a txn has ranges and puts only")
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r rules) checkWatch(q *pb.WatchRequest) error {
	switch one := q.RequestUnion.(type) {
	case *pb.WatchRequest_CreateRequest:
		if len(one.CreateRequest.Filters) > len(pb.WatchCreateRequest_FilterType_name) {
			return refuse("a watch has at most %d filters", len(pb.WatchCreateRequest_FilterType_name))
		}
		_, err := r.span(one.CreateRequest.Key, one.CreateRequest.RangeEnd)
		return err
	case *pb.WatchRequest_CancelRequest, *pb.WatchRequest_ProgressRequest: // of watches of the same stream
		return nil
	}
	return refuse("it asks for nothing")
}
