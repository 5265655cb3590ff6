package rollout_test

import clientv3 "go.etcd.io/etcd/client/v3"

func putOn(key string, lease clientv3.LeaseID) clientv3.Op {
	return clientv3.OpPut(key, "{}", clientv3.WithLease(lease))
}

func createdAt(key string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), "=", revision)
}
