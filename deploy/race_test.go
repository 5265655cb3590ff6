//go:build race

package deploy_test

const race = true
