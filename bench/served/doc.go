// Package served measures a store on a server, over loopback, beside the bare transport in the same run.
//
//	go test -run='^$' -bench=. -benchtime=2s -count=3 ./served
package served
