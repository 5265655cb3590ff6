package main

import (
	"log/slog"

	"refship/deploy/etcd"
)

// etcdFlags say how to reach an etcd that is not the embedded one; named as etcdctl names them.
type etcdFlags struct {
	Endpoints    []string `variable:"" group:"etcd" placeholder:"URL" help:"Use this etcd, one or more addresses, instead of the one in the data directory."`
	CACert       string   `variable:"" group:"etcd" name:"cacert" placeholder:"FILE" help:"Verify the etcd server's certificate with this CA."`
	Cert         string   `variable:"" group:"etcd" placeholder:"FILE" help:"Client certificate for etcd."`
	Key          string   `variable:"" group:"etcd" placeholder:"FILE" help:"Key of the client certificate."`
	User         string   `variable:"" group:"etcd" placeholder:"NAME[:PASSWORD]" help:"User name for etcd."`
	Password     string   `variable:"" group:"etcd" placeholder:"PASSWORD" help:"Password for etcd. Better give it in the environment, or in a file."`
	PasswordFile string   `variable:"" group:"etcd" placeholder:"FILE" help:"A file whose first line is the password for etcd."`

	filed string // the password of PasswordFile, once check has read it
}

func (f *etcdFlags) config(log *slog.Logger) etcd.Config {
	return etcd.Config{
		Endpoints: f.Endpoints, CACert: f.CACert, Cert: f.Cert, Key: f.Key,
		User: f.User, Password: f.Password + f.filed, Log: log,
	}
}

// check gives usage errors for what etcd.Dial would refuse without dialling, so that nothing is done before. It reads
// the password's file.
func (f *etcdFlags) check() error {
	if len(f.Endpoints) == 0 {
		if f.CACert != "" || f.Cert != "" || f.Key != "" || f.User != "" || f.Password != "" || f.PasswordFile != "" {
			return usagef("--cacert, --cert, --key, --user, --password and --password-file " +
				"belong to --endpoints, which is missing")
		}
		return nil
	}
	if f.PasswordFile != "" {
		if f.Password != "" {
			return usagef("--password and --password-file can't be used together")
		}
		var err error
		if f.filed, err = readPassword(f.PasswordFile); err != nil {
			return err
		}
	}
	if err := f.config(nil).Check(); err != nil {
		return asUsage("", err)
	}
	return nil
}
