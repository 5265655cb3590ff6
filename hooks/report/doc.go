// Package report tells what became of a push, or of a deploy that was asked for: one line of the log for the operator,
// and a [Report] for what counts them.
//
// A [Line] is the line. Its message is the kind: push, deploy or rollback.
//
//	level=INFO msg=push repository=config user=laptop key=SHA256:4VQ… address=… push=9f86… updates=1
//	  refs=[refs/heads/main] … result=deployed deploys="[/refship/config 7]" … stored_bytes=3174 lock_wait_ms=0 ms=11
//
// What users send is cut to what a line of a log can hold: [Value], [Error], [List].
package report
