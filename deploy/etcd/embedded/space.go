package embedded

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"refship/deploy/etcd"
)

// roomToWrite is how many bytes must be free before etcd is let write again: its largest request, and what that costs
// beside its values.
const roomToWrite = 2 << 20

// Disarm tells how much etcd holds. Where the alarm NOSPACE is on although there is room, because this start has a
// larger quota than the one before, it takes the alarm back first: etcd itself keeps it through any restart.
func (e *Etcd) Disarm(ctx context.Context) (etcd.Space, error) {
	space, err := etcd.ReadSpace(ctx, e.client)
	if err != nil || !space.NoSpace || space.Quota-space.Used < roomToWrite {
		return space, err
	}
	alarms, err := e.remote.AlarmList(ctx)
	if err != nil {
		return space, fmt.Errorf("list etcd's alarms: %w", etcd.Classify(err))
	}
	for _, alarm := range alarms.Alarms {
		if alarm.Alarm != etcdserverpb.AlarmType_NOSPACE {
			continue
		}
		if _, err := e.remote.AlarmDisarm(ctx, (*clientv3.AlarmMember)(alarm)); err != nil {
			return space, fmt.Errorf("disarm etcd's alarm NOSPACE: %w", etcd.Classify(err))
		}
	}
	return etcd.ReadSpace(ctx, e.client)
}
