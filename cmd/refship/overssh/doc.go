// Package overssh reads chains of another machine's refship through ssh.
//
// An [Address] is ssh://[USER@]HOST[:PORT]/REPO[:TARGET]. [Address.Dial] runs the system's ssh, so that its
// configuration, agent, known hosts and jump hosts count as for git, with the command
//
//	ssh -T [-p PORT] [USER@]HOST "etcd 'REPO[:TARGET]'"
//
// and speaks etcd's own API over its standard input and output: etcd.DialStream is this side, deploy/etcd/gate the
// other. One connection is one process of ssh. It ends with the client.
//
// What ssh and the server say goes to Config.Stderr as it comes. The error of Dial comes after it, and says which side
// it was: ssh ends with 255 where it has not connected, else with the status of the server's command, which is
// refship's kind of error.
//
// # Concurrency
//
// An Address is a value. The client of Dial is as safe as any of package etcd.
package overssh
