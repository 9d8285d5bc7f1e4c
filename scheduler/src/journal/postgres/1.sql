-- The journal of a scheduler, as its first version keeps it.

-- Which scheduler writes. One row: whoever takes the journal over gives it the next epoch, and nothing is written under
-- an earlier one.
CREATE TABLE isoswarm_owner (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    epoch bigint NOT NULL,
    holder text NOT NULL,
    address text NOT NULL,
    expires timestamptz NOT NULL,
    -- Its session on the server.
    session integer NOT NULL,
    session_start timestamptz NOT NULL
);
INSERT INTO isoswarm_owner VALUES (true, 0, '', '', '-infinity', 0, '-infinity');

-- Records from 1 on, without gaps: a version byte and an encoded isoswarm.journal.v1.Record, or a hole.
CREATE TABLE isoswarm_record (
    sequence bigint PRIMARY KEY,
    value bytea NOT NULL
);

-- Output by attempt (run, step, index, attempt as big endian numbers: 20 bytes) and offset.
CREATE TABLE isoswarm_output (
    attempt bytea NOT NULL,
    start bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (attempt, start)
);
