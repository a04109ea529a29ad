CREATE TABLE projections (
	id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never used again, so that readers see a table that was replaced
	name     TEXT COLLATE "C" NOT NULL,
	version  INTEGER NOT NULL,
	shape    JSON NOT NULL,
	position BIGINT NOT NULL DEFAULT 0,
	event    BIGINT NOT NULL DEFAULT 0,
	event_id TEXT NOT NULL DEFAULT '',
	commits  BIGINT NOT NULL DEFAULT 0,
	UNIQUE (name, version)
);
CREATE TABLE notes (
	key   TEXT COLLATE "C" PRIMARY KEY,
	value BYTEA NOT NULL
);
