package pgviews

import (
	"context"
	"embed"
	"fmt"
	"hash/fnv"
	"io/fs"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations is the statements that make the schema's own tables, one text for each version of them, the oldest first. [Open] runs what is
// missing; who does not let it may run them by hand, with search_path set to the schema, and set the version that the last line says.
func Migrations() ([]string, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	var all []string
	for i, file := range files {
		text, err := migrations.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all = append(all, string(text)+fmt.Sprintf("CREATE OR REPLACE FUNCTION annals_version() RETURNS INTEGER LANGUAGE SQL IMMUTABLE AS 'SELECT %d';\n", i+1))
	}
	return all, nil
}

// lockCatalog keeps others from making or dropping tables of the schema until the transaction ends.
func (v *Views) lockCatalog(ctx context.Context, tx pgx.Tx) error {
	h := fnv.New64a()
	_, _ = h.Write([]byte("annals/" + v.schema)) // never fails
	_, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(h.Sum64()))
	return err
}

// migrate brings the schema's own tables to the version of this program.
func (v *Views) migrate(ctx context.Context, existing bool) error {
	steps, err := Migrations()
	if err != nil {
		return err
	}
	version, err := v.version(ctx, v.pool)
	switch {
	case err != nil || version == len(steps):
		return err
	case existing && version == 0:
		return ErrNoSchema
	}
	return v.in(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := v.lockCatalog(ctx, tx); err != nil {
			return err
		}
		version, err := v.version(ctx, tx)
		if err != nil {
			return err
		}
		if version == 0 {
			if err := v.prepare(ctx, tx); err != nil {
				return err
			}
		}
		for _, step := range steps[version:] {
			for statement := range strings.SplitSeq(strings.TrimSpace(step), ";\n") {
				if _, err := tx.Exec(ctx, statement); err != nil {
					return fmt.Errorf("%w: in: %s", err, statement)
				}
			}
		}
		return nil
	})
}

// version is how many of the migrations were made.
func (v *Views) version(ctx context.Context, from querier) (version int, err error) {
	var there bool
	err = from.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1 AND p.proname = 'annals_version')",
		v.schema).Scan(&there)
	if err != nil || !there {
		return 0, err
	}
	if err := from.QueryRow(ctx, "SELECT "+v.name("annals_version")+"()").Scan(&version); err != nil {
		return 0, err
	}
	steps, err := Migrations()
	if err == nil && version > len(steps) {
		err = fmt.Errorf("%w: its version is %d, this program knows %d", ErrForeignSchema, version, len(steps))
	}
	return version, err
}

// prepare makes the schema, or takes an empty one.
func (v *Views) prepare(ctx context.Context, tx pgx.Tx) error {
	var there bool
	var tables int
	err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1), (SELECT count(*) FROM pg_tables WHERE schemaname = $1)",
		v.schema).Scan(&there, &tables)
	switch {
	case err != nil:
		return err
	case tables > 0:
		return fmt.Errorf("%w: it has %d tables of another program: name another schema", ErrForeignSchema, tables)
	case there:
		return nil
	}
	_, err = tx.Exec(ctx, "CREATE SCHEMA "+quote(v.schema))
	return err
}
