package storetest

import (
	"errors"

	"github.com/annalsdb/annals"
)

func settingsRace(r *rig) {
	r.append(many(3))
	settings := annals.RetentionStream("s-1")
	s := r.asSystem()
	cond := annals.NoStream(settings)
	for i := range 5 {
		winners(s, 12, func(i int) annals.Event { return annals.RetentionEvent("s-1", annals.Retention{MaxCount: i + 1}) },
			func(int) annals.Condition { return cond })
		cond = annals.StreamAt(settings, annals.Revision(i))
	}
	r.equal("the settings' revision", r.retention("s-1").Settings, annals.Revision(4))
}

func tombstonesRace(r *rig) {
	for i := range 6 {
		s := "s-" + decimal(i)
		r.put("A", s)
		receipts, end := make([]annals.Receipt, 8), annals.Receipt{}
		race(len(receipts)+1, func(j int) {
			if j == len(receipts)/2 {
				end = r.tombstone(s)
				return
			}
			j -= j / (len(receipts)/2 + 1)
			for range 4 {
				got, err := r.store.Append(r.Context(), events(event("B", "other-1"), event("A", s)))
				if err != nil {
					if !errors.Is(err, annals.ErrStreamTombstoned) {
						r.Errorf("an append that raced with a tombstone failed with something else: %v", err)
					}
					return
				}
				receipts[j] = got
			}
		})
		for _, got := range receipts {
			if got.Last > end.First {
				r.Errorf("the stream ended at position %d, and yet an append to it was accepted at %d", end.First, got.Last)
			}
		}
		r.equal("what can be read of the stream", r.at(annals.Stream(s)), positions())
		r.refused("an append when all is over", annals.ErrStreamTombstoned, events(event("A", s)))
	}
}

func existenceRaces(r *rig) {
	for i := range 6 {
		s := "s-" + decimal(i)
		r.put("A", s)
		conds := []annals.Condition{annals.StreamExists(s), annals.StreamIn(s, annals.StreamLive)}
		receipts, gone := make([]annals.Receipt, 9), annals.Receipt{}
		race(len(receipts), func(j int) {
			if j == 4 {
				gone = r.delete(s)
				return
			}
			for range 4 {
				got, err := r.store.Append(r.Context(), events(event("B", "other-1")), conds[j%2])
				if err != nil {
					if !errors.Is(err, annals.ErrConflict) {
						r.Errorf("an append that raced with a deletion failed with something else: %v", err)
					}
					return
				}
				receipts[j] = got
			}
		})
		for _, got := range receipts {
			if got.Last > gone.First {
				r.Errorf("the stream was deleted at position %d, and yet an append that wanted it to exist was accepted at %d", gone.First, got.Last)
			}
		}
	}
}

func countedReadsRace(r *rig) {
	r.retain("s-1", annals.Retention{MaxCount: 5})
	race(4, func(i int) {
		for range 25 {
			if i == 0 {
				if _, err := r.store.Append(r.Context(), events(event("A", "s-1"), event("A", "s-1"))); err != nil {
					r.Errorf("an append failed: %v", err)
					return
				}
				continue
			}
			got, err := r.drainQuietly(r.store.Read(r.Context(), annals.Stream("s-1")))
			if err != nil {
				r.Errorf("a read failed: %v", err)
				return
			}
			for j, e := range got {
				if e.Revision != got[0].Revision+annals.Revision(j) {
					r.Errorf("revision %d is followed by %d", got[j-1].Revision, e.Revision)
				}
			}
			if len(got) > 0 && len(got) != int(min(5, got[len(got)-1].Revision+1)) {
				r.Errorf("a read saw %d events up to revision %d; want the last five", len(got), got[len(got)-1].Revision)
			}
		}
	})
}
