-- The first schema. Only what SQLite and PostgreSQL share: TEXT, BIGINT,
-- DOUBLE PRECISION, BOOLEAN, BYTEA; times are integer microseconds since 1970
-- UTC; no column is ever NULL. docs/formats/database.md explains every table.

-- +goose Up

CREATE TABLE traces (
    id            TEXT             NOT NULL PRIMARY KEY,
    task          TEXT             NOT NULL,
    time_us       BIGINT           NOT NULL,
    session       TEXT             NOT NULL,
    source        TEXT             NOT NULL,
    answer        TEXT             NOT NULL,
    step          TEXT             NOT NULL,
    model         TEXT             NOT NULL,
    score         DOUBLE PRECISION NOT NULL,
    certified     BOOLEAN          NOT NULL,
    reason        TEXT             NOT NULL,
    cost_usd      DOUBLE PRECISION NOT NULL,
    saved_usd     DOUBLE PRECISION NOT NULL,
    took_ns       BIGINT           NOT NULL,
    student       TEXT             NOT NULL,
    student_model TEXT             NOT NULL,
    propensity    DOUBLE PRECISION NOT NULL,
    audit         BOOLEAN          NOT NULL,
    labelled      BOOLEAN          NOT NULL,
    teacher       TEXT             NOT NULL,
    teacher_model TEXT             NOT NULL,
    outside_space BOOLEAN          NOT NULL,
    teacher_again TEXT             NOT NULL,
    gold          TEXT             NOT NULL,
    feedback      TEXT             NOT NULL,
    input         BYTEA            NOT NULL
);

CREATE INDEX traces_by_time ON traces (task, time_us, id);
CREATE INDEX traces_audited ON traces (task, model, time_us, id) WHERE audit AND labelled;

-- Running totals of traces, changed in the transaction that changes them.
CREATE TABLE task_counts (
    task      TEXT             NOT NULL PRIMARY KEY,
    traces    BIGINT           NOT NULL,
    labelled  BIGINT           NOT NULL,
    served    BIGINT           NOT NULL,
    certified BIGINT           NOT NULL,
    saved_usd DOUBLE PRECISION NOT NULL,
    cost_usd  DOUBLE PRECISION NOT NULL
);

CREATE TABLE versions (
    task           TEXT             NOT NULL,
    number         BIGINT           NOT NULL,
    name           TEXT             NOT NULL,
    parent         TEXT             NOT NULL,
    stage          TEXT             NOT NULL CHECK (stage IN ('candidate', 'shadow', 'serving', 'retired')),
    created_us     BIGINT           NOT NULL,
    families       TEXT             NOT NULL,
    labels         BIGINT           NOT NULL,
    trained_rows   BIGINT           NOT NULL,
    bytes          BIGINT           NOT NULL,
    artefact       TEXT             NOT NULL,
    caused_by      TEXT             NOT NULL,
    agree          DOUBLE PRECISION NOT NULL,
    train_s        DOUBLE PRECISION NOT NULL,
    why            TEXT             NOT NULL,
    PRIMARY KEY (task, number),
    UNIQUE (task, name)
);

-- At most one version of a task serves.
CREATE UNIQUE INDEX versions_serving ON versions (task) WHERE stage = 'serving';

CREATE TABLE certificates (
    id             BIGINT           NOT NULL PRIMARY KEY,
    task           TEXT             NOT NULL,
    version        TEXT             NOT NULL,
    time_us        BIGINT           NOT NULL,
    status         TEXT             NOT NULL CHECK (status IN ('valid', 'refused', 'withdrawn', 'replaced')),
    threshold      DOUBLE PRECISION NOT NULL,
    alpha          DOUBLE PRECISION NOT NULL,
    delta          DOUBLE PRECISION NOT NULL,
    delta_used     DOUBLE PRECISION NOT NULL,
    look           BIGINT           NOT NULL,
    method         TEXT             NOT NULL,
    tested_rows    BIGINT           NOT NULL,
    accepted       BIGINT           NOT NULL,
    errors         BIGINT           NOT NULL,
    coverage       DOUBLE PRECISION NOT NULL,
    p_value        DOUBLE PRECISION NOT NULL,
    from_trace     TEXT             NOT NULL,
    to_trace       TEXT             NOT NULL,
    needs          BIGINT           NOT NULL,
    budget         DOUBLE PRECISION NOT NULL,
    why            TEXT             NOT NULL,
    FOREIGN KEY (task, version) REFERENCES versions (task, name)
);

CREATE INDEX certificates_by_task ON certificates (task, id);

-- Artefacts are cut into chunks so that storing a large one never keeps the
-- trace log waiting. An artefact exists when its row in artefacts does;
-- chunks without one are left-overs of a crash and go at the next start.
CREATE TABLE artefacts (
    sha256     TEXT   NOT NULL PRIMARY KEY,
    bytes      BIGINT NOT NULL,
    chunks     BIGINT NOT NULL,
    created_us BIGINT NOT NULL
);

CREATE TABLE artefact_chunks (
    sha256 TEXT   NOT NULL,
    n      BIGINT NOT NULL,
    body   BYTEA  NOT NULL,
    PRIMARY KEY (sha256, n)
);

CREATE TABLE events (
    id      BIGINT NOT NULL PRIMARY KEY,
    time_us BIGINT NOT NULL,
    task    TEXT   NOT NULL,
    kind    TEXT   NOT NULL,
    version TEXT   NOT NULL,
    why     TEXT   NOT NULL
);

CREATE INDEX events_by_time ON events (time_us, id);
CREATE INDEX events_by_task ON events (task, time_us, id);

CREATE TABLE settings (
    name  TEXT  NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Where the numbering of certificates and events stands. Numbers are never
-- given twice.
CREATE TABLE sequences (
    name TEXT   NOT NULL PRIMARY KEY,
    last BIGINT NOT NULL
);
