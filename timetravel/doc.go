// Package timetravel answers what was, and why: how a state came about event by event, and which event, command and cause
// stands behind what it says today.
//
//	for step, err := range timetravel.History(ctx, log, Order{ID: "42"}) {
//		fmt.Println(step.Entry.Type, step.Changes)
//	}
//	reason, err := timetravel.Why(ctx, log, Order{ID: "42"}, "status")
//
// A branch is a store in which something else has happened, and which stores nothing: [WhatIf]. What it shows is compared with the
// truth by [Compare] and [CompareRows], and brought about today by [Correct], which appends what is missing. [Reverse] undoes the last
// events of a state, and [Bisect] finds the one that broke it.
//
// A state as of a revision, a position or a time is decider.Load with the options of package annals; a read model's row in
// the past is projection.AsOf.
//
// States are compared as JSON, for that is how they are shown: fields that are not exported are not seen.
package timetravel
