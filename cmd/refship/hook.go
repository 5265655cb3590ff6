package main

type hookCmd struct {
	Run hookRunCmd `cmd:"" help:"What git calls, by way of the installed hooks."`
}
