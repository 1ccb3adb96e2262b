-- Rules that let one generated package run on SQLite and PostgreSQL:
-- parameters are numbered in the order of their first use; LIMIT and row
-- values cast their parameters; every ORDER BY is total; no sqlc.slice.

-- name: TraceByID :one
SELECT * FROM traces WHERE id = $1;

-- name: TracePosition :one
SELECT task, time_us FROM traces WHERE id = $1;

-- name: TracesOldest :many
SELECT * FROM traces
WHERE task = sqlc.arg(task)
  AND (time_us, id) > (CAST(sqlc.arg(after_us) AS BIGINT), CAST(sqlc.arg(after_id) AS TEXT))
  AND time_us < sqlc.arg(until_us)
  AND (labelled OR CAST(sqlc.arg(unlabelled) AS BOOLEAN))
ORDER BY time_us, id
LIMIT CAST(sqlc.arg(page) AS BIGINT);

-- name: TracesNewest :many
SELECT * FROM traces
WHERE task = sqlc.arg(task)
  AND (time_us, id) < (CAST(sqlc.arg(before_us) AS BIGINT), CAST(sqlc.arg(before_id) AS TEXT))
  AND time_us >= sqlc.arg(since_us)
  AND (labelled OR CAST(sqlc.arg(unlabelled) AS BOOLEAN))
ORDER BY time_us DESC, id DESC
LIMIT CAST(sqlc.arg(page) AS BIGINT);

-- name: AuditedOldest :many
SELECT * FROM traces
WHERE task = sqlc.arg(task) AND model = sqlc.arg(model) AND audit AND labelled
  AND (time_us, id) > (CAST(sqlc.arg(after_us) AS BIGINT), CAST(sqlc.arg(after_id) AS TEXT))
  AND time_us < sqlc.arg(until_us)
ORDER BY time_us, id
LIMIT CAST(sqlc.arg(page) AS BIGINT);

-- name: AuditedNewest :many
SELECT * FROM traces
WHERE task = sqlc.arg(task) AND model = sqlc.arg(model) AND audit AND labelled
  AND (time_us, id) < (CAST(sqlc.arg(before_us) AS BIGINT), CAST(sqlc.arg(before_id) AS TEXT))
  AND time_us >= sqlc.arg(since_us)
ORDER BY time_us DESC, id DESC
LIMIT CAST(sqlc.arg(page) AS BIGINT);

-- name: TraceLabel :one
SELECT task, labelled, teacher, teacher_model, outside_space, teacher_again, gold, feedback, cost_usd
FROM traces WHERE id = $1;

-- name: LabelTrace :exec
UPDATE traces SET labelled = $1, teacher = $2, teacher_model = $3, outside_space = $4,
    teacher_again = $5, gold = $6, feedback = $7, cost_usd = $8
WHERE id = $9;

-- name: ExpireTraces :many
DELETE FROM traces WHERE id IN (
    SELECT t.id FROM traces t
    WHERE t.task = sqlc.arg(task) AND t.time_us < sqlc.arg(before_us)
    ORDER BY t.time_us, t.id
    LIMIT CAST(sqlc.arg(page) AS BIGINT))
RETURNING labelled, step, certified, saved_usd, cost_usd;

-- name: AddCounts :exec
INSERT INTO task_counts (task, traces, labelled, served, certified, saved_usd, cost_usd)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (task) DO UPDATE SET
    traces = task_counts.traces + excluded.traces,
    labelled = task_counts.labelled + excluded.labelled,
    served = task_counts.served + excluded.served,
    certified = task_counts.certified + excluded.certified,
    saved_usd = task_counts.saved_usd + excluded.saved_usd,
    cost_usd = task_counts.cost_usd + excluded.cost_usd;

-- name: DropEmptyCounts :exec
DELETE FROM task_counts WHERE task = $1 AND traces = 0;

-- name: Counts :one
SELECT * FROM task_counts WHERE task = $1;

-- name: TasksWithTraces :many
SELECT task FROM task_counts ORDER BY task;

-- name: NextNumber :one
INSERT INTO sequences (name, last) VALUES ($1, 1)
ON CONFLICT (name) DO UPDATE SET last = sequences.last + 1
RETURNING last;

-- name: LastVersion :one
SELECT CAST(COALESCE(MAX(number), 0) AS BIGINT) AS number FROM versions WHERE task = $1;

-- name: AddVersion :exec
INSERT INTO versions (task, number, name, parent, stage, created_us, families, labels,
    trained_rows, bytes, artefact, caused_by, agree, train_s, why)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15);

-- name: Versions :many
SELECT * FROM versions WHERE task = $1 ORDER BY number;

-- name: SetStage :execrows
UPDATE versions SET stage = $1, why = $2 WHERE task = $3 AND name = $4;

-- name: VersionArtefact :one
SELECT artefact FROM versions WHERE task = $1 AND name = $2;

-- name: VersionsOfArtefact :many
SELECT task, name FROM versions WHERE artefact = $1 ORDER BY task, number;

-- name: AddCertificate :exec
INSERT INTO certificates (id, task, version, time_us, status, threshold, alpha, delta, delta_used,
    look, method, tested_rows, accepted, errors, coverage, p_value, from_trace, to_trace, needs, budget, why)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21);

-- name: Certificates :many
SELECT * FROM certificates WHERE task = $1 ORDER BY id;

-- name: SetCertificate :execrows
UPDATE certificates SET status = $1 WHERE task = $2 AND id = $3;

-- name: AddArtefact :exec
INSERT INTO artefacts (sha256, bytes, chunks, created_us) VALUES ($1, $2, $3, $4)
ON CONFLICT (sha256) DO NOTHING;

-- name: Artefact :one
SELECT bytes, chunks FROM artefacts WHERE sha256 = $1;

-- name: DropArtefact :execrows
DELETE FROM artefacts WHERE sha256 = $1;

-- name: PutChunk :exec
INSERT INTO artefact_chunks (sha256, n, body) VALUES ($1, $2, $3)
ON CONFLICT (sha256, n) DO UPDATE SET body = excluded.body;

-- name: Chunk :one
SELECT body FROM artefact_chunks WHERE sha256 = $1 AND n = $2;

-- name: DropChunks :exec
DELETE FROM artefact_chunks WHERE sha256 = $1;

-- name: DropLooseChunks :execrows
DELETE FROM artefact_chunks WHERE NOT EXISTS (
    SELECT 1 FROM artefacts WHERE artefacts.sha256 = artefact_chunks.sha256);

-- name: AddEvent :exec
INSERT INTO events (id, time_us, task, kind, version, why) VALUES ($1, $2, $3, $4, $5, $6);

-- name: Events :many
SELECT * FROM events ORDER BY time_us DESC, id DESC LIMIT CAST(sqlc.arg(page) AS BIGINT);

-- name: EventsOfTask :many
SELECT * FROM events WHERE task = $1 ORDER BY time_us DESC, id DESC LIMIT CAST(sqlc.arg(page) AS BIGINT);

-- name: Setting :one
SELECT value FROM settings WHERE name = $1;

-- name: AddSetting :exec
INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING;
