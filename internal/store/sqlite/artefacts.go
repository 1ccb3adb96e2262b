package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"tandem"
	"tandem/internal/store/sqlite/db"
)

// chunkBytes bounds what one transaction writes of an artefact, so that the
// trace log waits milliseconds, not for the whole of it.
const chunkBytes = 1 << 20

func chunksOf(size int) int64 { return int64((size + chunkBytes - 1) / chunkBytes) }

// stage writes the chunks of an artefact that is not stored yet and returns
// its sha256. The caller holds s.artefacts.
func (s *Store) stage(ctx context.Context, artefact []byte) (string, error) {
	digest := sha256.Sum256(artefact)
	sum := hex.EncodeToString(digest[:])
	_, err := s.read.Artefact(ctx, sum)
	if err == nil {
		return sum, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	for n := range chunksOf(len(artefact)) {
		body := artefact[n*chunkBytes : min(int64(len(artefact)), (n+1)*chunkBytes)]
		err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
			return q.PutChunk(ctx, db.PutChunkParams{Sha256: sum, N: n, Body: body})
		})
		if err != nil {
			return "", err
		}
	}
	return sum, nil
}

// Artefact returns the bytes whose sha256 is given, verified.
func (s *Store) Artefact(ctx context.Context, sum string) ([]byte, error) {
	head, err := s.read.Artefact(ctx, sum)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, tandem.Errorf(tandem.NotFound, "there is no artefact %s; it may have been pruned", shorten(sum))
	}
	if err != nil {
		return nil, s.fail("read an artefact", err)
	}
	if head.Bytes < 0 || head.Chunks != chunksOf(int(head.Bytes)) {
		return nil, s.damaged(fmt.Errorf("artefact %s: %d bytes in %d chunks", sum, head.Bytes, head.Chunks))
	}
	out := make([]byte, 0, head.Bytes)
	for n := range head.Chunks {
		body, err := s.read.Chunk(ctx, db.ChunkParams{Sha256: sum, N: n})
		if errors.Is(err, sql.ErrNoRows) {
			return nil, s.damaged(fmt.Errorf("artefact %s: chunk %d is missing", sum, n))
		}
		if err != nil {
			return nil, s.fail("read an artefact", err)
		}
		out = append(out, body...)
	}
	if digest := sha256.Sum256(out); hex.EncodeToString(digest[:]) != sum {
		return nil, s.damaged(fmt.Errorf("artefact %s: the bytes have another checksum", sum))
	}
	return out, nil
}

// DropArtefacts deletes the artefacts of the versions, unless another version
// has the same bytes.
func (s *Store) DropArtefacts(ctx context.Context, task string, versions []string) (int, error) {
	s.artefacts.Lock()
	defer s.artefacts.Unlock()
	going := make(map[string]bool, len(versions))
	for _, name := range versions {
		going[name] = true
	}
	dropped := 0
	for _, name := range versions {
		err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
			n, err := dropArtefact(ctx, q, task, name, going)
			dropped += n
			return err
		})
		if err != nil {
			return dropped, s.fail("delete artefacts", err)
		}
	}
	return dropped, nil
}

// dropArtefact deletes one version's artefact when all versions that have it
// are going.
func dropArtefact(ctx context.Context, q *db.Queries, task, name string, going map[string]bool) (int, error) {
	sum, err := q.VersionArtefact(ctx, db.VersionArtefactParams{Task: task, Name: name})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, tandem.Errorf(tandem.NotFound, "task %s has no student version %s", shorten(task), shorten(name))
	}
	if err != nil {
		return 0, err
	}
	owners, err := q.VersionsOfArtefact(ctx, sum)
	if err != nil {
		return 0, err
	}
	for _, o := range owners {
		if o.Task != task || !going[o.Name] {
			return 0, nil
		}
	}
	n, err := q.DropArtefact(ctx, sum)
	if err != nil || n == 0 {
		return 0, err
	}
	return 1, q.DropChunks(ctx, sum)
}

// dropLooseChunks frees what a crash in the middle of PutVersion left.
func (s *Store) dropLooseChunks(ctx context.Context) error {
	err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		_, err := q.DropLooseChunks(ctx)
		return err
	})
	return s.fail("tidy the database", err)
}
