package web

import (
	"time"

	"refship/gitserver/web/code"
)

// Unhurry lets everything take its time, on a machine that does much else.
func (w *Web) Unhurry() {
	w.requestTime, w.proofTime, w.colors = time.Hour, time.Hour, code.New(time.Hour)
}

// Hurry lets nothing take any time.
func (w *Web) Hurry() { w.requestTime, w.proofTime, w.colors = time.Hour, 0, code.New(0) }
