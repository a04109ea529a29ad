// Package projections measures how fast read models follow the log, beside loops that somebody wrote by hand for the same database, and
// beside one transaction for each event.
//
//	go test -run='^$' -bench=. -benchtime=1x -count=3 ./projections
package projections
