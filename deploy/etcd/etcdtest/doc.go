// Package etcdtest gives tests a real etcd.
//
//   - New and Serve run an embedded one, of the version that refship is built with, in about a tenth of a second; tests
//     that write under different prefixes can share it.
//   - StartProcess and StartCluster run the program etcd that is installed (Debian's is 3.4), which can be killed,
//     paused and started again.
package etcdtest
