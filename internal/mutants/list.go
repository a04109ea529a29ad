package mutants

// Where the code that is changed is, and the tests that must notice.
const (
	segmentDir    = "store/engine/segment/"
	engineDir     = "store/engine/"
	segmentTests  = "./store/engine/segment"
	engineTests   = "./store/engine"
	indexTests    = "./store/engine/index"
	everyPowerCut = "^TestAcknowledgedFramesSurviveAPowerCutAtEveryOperation$"
	everyAnswer   = "^TestEveryAnswerIsTrueOfTheLogAtSomeMomentBetweenQuestionAndAnswer$"
	everyFault    = "^TestAcknowledgedFramesSurviveAFaultAtEveryOperation$"
)

// All is every mutant.
func All() []Mutant {
	return []Mutant{
		{
			Name: "M1", What: "acknowledges before the frame is synced",
			Edits:   []Edit{{segmentDir + "commit.go", "if err := file.Sync(); err != nil {\n\t\td.stop(err)", "if err := error(nil); err != nil {\n\t\td.stop(err)"}},
			Package: segmentTests, Run: everyPowerCut,
		},
		{
			Name: "M2", What: "does not sync the directory of a new segment",
			Edits:   []Edit{{segmentDir + "upkeep.go", "if err := d.fs.SyncDir(d.dir); err != nil {", "if err := error(nil); err != nil {"}},
			Package: segmentTests, Run: everyPowerCut,
		},
		{
			Name: "M3", What: "ignores that a sync failed",
			Edits:   []Edit{{segmentDir + "commit.go", "if err := file.Sync(); err != nil {\n\t\td.stop(err)", "_ = file.Sync()\n\tif err := error(nil); err != nil {\n\t\td.stop(err)"}},
			Package: segmentTests, Run: "^TestAFailedSyncStopsWritingForGood$",
		},
		{
			Name: "M4", What: "syncs again after a sync that failed",
			Edits: []Edit{{
				segmentDir + "commit.go", "if err := file.Sync(); err != nil {\n\t\td.stop(err)",
				"err = file.Sync()\n\tif err != nil {\n\t\terr = file.Sync()\n\t}\n\tif err != nil {\n\t\td.stop(err)",
			}},
			Package: segmentTests, Run: "^TestAFailedSyncStopsWritingForGood$",
		},
		{
			Name: "M5", What: "takes the checksum of a record over its header only",
			Edits: []Edit{{
				engineDir + "frame/record.go", "return crc32.Update(fourCRC(seed, binary.LittleEndian.Uint32(record)), castagnoli, record[8:])",
				"return crc32.Update(fourCRC(seed, binary.LittleEndian.Uint32(record)), castagnoli, record[8:RecordHeaderBytes])",
			}},
			Package: segmentTests, Run: "^TestNoFlippedBitIsServed$", Args: []string{"-flipbytes=20000", "-opens=0"},
		},
		{
			Name: "M6", What: "cuts the log at the first frame that does not verify, whatever follows",
			Edits: []Edit{{
				segmentDir + "tail.go", "\t\tif err == nil && found.in == nil && !goesOn {",
				"\t\tfound = proof{}\n\t\tif false {",
			}},
			Package: segmentTests, Run: "^TestCorruptionBeforeAFrameThatFollowsIsNotCut$",
		},
		{
			Name: "M7", What: "keeps an index that is ahead of the log",
			Edits:   []Edit{{engineDir + "index/open.go", "\t\tif !known {", "\t\tif false && !known {"}},
			Package: indexTests, Run: "^TestRunsOfALogThatIsNoMoreAreLeftOut$",
		},
		{
			Name: "M8", What: "shows events before they are durable",
			Edits: []Edit{{
				engineDir + "commit.go", "\terr := s.journal.CompareAppend(ctx, q.end.ref, p.bytes)\n",
				"\tfor _, r := range p.staged {\n\t\ts.index.Add(r.keys, r.first)\n\t}\n\ts.index.Advance(&p.header)\n\terr := s.journal.CompareAppend(ctx, q.end.ref, p.bytes)\n",
			}},
			Package: engineTests, Run: "^TestNothingIsVisibleBeforeItIsDurable$",
		},
		{
			Name: "M9", What: "moves the checkpoint of a projection before its rows",
			Edits: []Edit{{
				"projection/job.go", "\t\tif err := f(b); err != nil {",
				"\t\tif err := b.Commit(ctx, at); err != nil {\n\t\t\treturn err\n\t\t}\n\t\tif b, err = j.table.Begin(ctx, at); err != nil {\n\t\t\treturn err\n\t\t}\n" +
					"\t\tif err := f(b); err != nil {",
			}},
			Package: "./projection", Run: "^TestACommitThatFailsForAWhileIsTriedAgainAndAppliesNothingTwice$|^TestMemoryViewsKeepThePromisesOfViews$",
		},
		{
			Name: "M10", What: "skips an event when a subscription goes from catching up to live",
			Edits:   []Edit{{engineDir + "subscribe.go", "\treturn u.deliver(ctx, from)\n", "\tmore, err = u.deliver(ctx, from-1)\n\tu.at = from\n\treturn more, err\n"}},
			Package: engineTests, Run: everyAnswer,
		},
		{
			Name: "M11", What: "checks conditions outside the sequencer only",
			Edits: []Edit{
				{engineDir + "commit.go", "case r.affectedSince(memory) || s.retained.Affects(r.events, r.conditions, annals.Position(r.checked)):", "case false:"},
				{engineDir + "commit.go", "case q.delta.affects(r):", "case false:"},
			},
			Package: engineTests, Run: everyAnswer,
		},
		{
			Name: "M12", What: "looks for ids among the last 1,000 events only",
			Edits: []Edit{{
				engineDir + "evaluate.go", "candidate, err := v.store.records.Record(v.ctx, annals.Position(p))",
				"if p+1000 < v.view.Head() {\n\t\t\treturn false, nil\n\t\t}\n\t\tcandidate, err := v.store.records.Record(v.ctx, annals.Position(p))",
			}},
			Package: engineTests, Run: "^TestTheStoreKeepsEveryPromise$/^ids$",
		},
		{
			Name: "M13", What: "ignores that a frame was written in part",
			Edits:   []Edit{{segmentDir + "commit.go", "if _, err := file.WriteAt(d.buf, off); err != nil {", "if n, err := file.WriteAt(d.buf, off); err != nil && n == 0 {"}},
			Package: segmentTests, Run: everyFault,
		},
		{
			Name: "M14", What: "does not sync the directory after a manifest was renamed",
			Edits: []Edit{{
				segmentDir + "catalog.go", "\tif err := d.fs.SyncDir(d.dir); err != nil {\n\t\td.stop(err)",
				"\tif err := error(nil); err != nil {\n\t\td.stop(err)",
			}},
			Package: segmentTests, Run: everyPowerCut,
		},
		{
			Name: "M15", What: "believes the page cache when it recovers",
			Edits:   []Edit{{segmentDir + "recover.go", "\treturn s.file.DropCache()\n", "\treturn nil\n"}},
			Package: segmentTests, Run: "^TestAFailedSyncStopsWritingForGood$|" + everyFault,
		},
	}
}
