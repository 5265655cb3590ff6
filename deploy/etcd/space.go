package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Space is what an etcd holds and may hold, in bytes. Used is the size of its
// database file, which is what etcd compares with the quota: deleted keys count
// until compaction and defragmentation.
type Space struct {
	Used, Quota int64 // Quota 0: unknown (servers before 3.6) or none
	NoSpace     bool  // the NOSPACE alarm is on
}

// ReadSpace asks the first endpoint that answers; an in-process client its own
// etcd. Errors are classified.
func ReadSpace(ctx context.Context, client *clientv3.Client) (Space, error) {
	status, err := readStatus(ctx, client)
	if err != nil {
		return Space{}, fmt.Errorf("read etcd status: %w", err)
	}
	space := Space{Used: status.DbSize, Quota: max(status.DbSizeQuota, 0)}
	alarms, err := client.AlarmList(ctx)
	switch err = Classify(err); {
	case errors.Is(err, ErrDenied):
		// An ordinary user may not list alarms on every server; status, which has
		// been answered, names them too.
		for _, text := range status.Errors {
			space.NoSpace = space.NoSpace || strings.Contains(text, etcdserverpb.AlarmType_NOSPACE.String())
		}
		return space, nil
	case err != nil:
		return Space{}, fmt.Errorf("list etcd alarms: %w", err)
	}
	for _, alarm := range alarms.Alarms {
		space.NoSpace = space.NoSpace || alarm.Alarm == etcdserverpb.AlarmType_NOSPACE
	}
	return space, nil
}

func readStatus(ctx context.Context, client *clientv3.Client) (*clientv3.StatusResponse, error) {
	endpoints := client.Endpoints()
	if len(endpoints) == 0 {
		endpoints = []string{""} // in-process: the name is not used
	}
	var first error
	for _, endpoint := range endpoints {
		status, err := client.Status(ctx, endpoint)
		if err == nil {
			return status, nil
		}
		if first == nil {
			first = Classify(err)
		}
	}
	return nil, first
}
