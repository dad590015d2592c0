-- The schema of version 1, as released; application_id and user_version are set beside it.
CREATE TABLE runs (
    run_no INTEGER NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    parent_no INTEGER,
    state TEXT NOT NULL,
    name TEXT NOT NULL,
    input_name TEXT NOT NULL,
    input_sha256 TEXT,
    input_format TEXT NOT NULL,
    header TEXT,
    parse_options TEXT NOT NULL,
    mode TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    workspace_id TEXT,
    settings TEXT NOT NULL,
    rows INTEGER NOT NULL,
    created_at FLOAT NOT NULL,
    staged_at FLOAT,
    started_at FLOAT,
    stopped_at FLOAT,
    sending_seconds FLOAT NOT NULL,
    stop_cause TEXT,
    stop_message TEXT,
    PRIMARY KEY (run_no),
    UNIQUE (id),
    FOREIGN KEY(parent_no) REFERENCES runs (run_no)
);
CREATE TABLE shards (
    run_no INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    workspace_id TEXT,
    rows INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    holder TEXT,
    lease_until FLOAT,
    dispatched_through INTEGER NOT NULL,
    PRIMARY KEY (run_no, shard),
    FOREIGN KEY(run_no) REFERENCES runs (run_no) ON DELETE CASCADE
);
CREATE TABLE inputs (
    run_no INTEGER NOT NULL,
    "row" INTEGER NOT NULL,
    line INTEGER NOT NULL,
    shard INTEGER,
    acs_credential_id TEXT,
    acs_user_id TEXT,
    user_identity_id TEXT,
    workspace_id TEXT,
    cells TEXT NOT NULL,
    PRIMARY KEY (run_no, "row"),
    CONSTRAINT one_user CHECK (shard IS NULL OR (acs_user_id IS NULL) <> (user_identity_id IS NULL)),
    FOREIGN KEY(run_no) REFERENCES runs (run_no) ON DELETE CASCADE
)
 WITHOUT ROWID;
CREATE INDEX inputs_by_shard ON inputs (run_no, shard, "row");
CREATE TABLE results (
    run_no INTEGER NOT NULL,
    "row" INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    retryable BOOLEAN,
    detail TEXT,
    http_status SMALLINT,
    error_type TEXT,
    error_message TEXT,
    attempts INTEGER NOT NULL,
    read_back BOOLEAN NOT NULL,
    request_id TEXT,
    assigned_acs_user_id TEXT,
    assigned_user_identity_id TEXT,
    previous_acs_user_id TEXT,
    acs_system_id TEXT,
    credential_workspace_id TEXT,
    access_method TEXT,
    external_type TEXT,
    display_name TEXT,
    is_issued BOOLEAN,
    issued_at TEXT,
    starts_at TEXT,
    ends_at TEXT,
    is_synced_with_provider BOOLEAN,
    warning_codes TEXT,
    warnings TEXT,
    credential_errors TEXT,
    code TEXT,
    card_number TEXT,
    started_at FLOAT,
    finished_at FLOAT,
    duration_ms BIGINT,
    details_due BOOLEAN NOT NULL,
    PRIMARY KEY (run_no, "row"),
    FOREIGN KEY(run_no) REFERENCES runs (run_no) ON DELETE CASCADE
)
 WITHOUT ROWID;
CREATE INDEX results_in_doubt ON results (run_no, "row") WHERE outcome = 'in_doubt';
CREATE INDEX results_details_due ON results (run_no, "row") WHERE details_due;
CREATE TABLE unsettled (
    run_no INTEGER NOT NULL,
    "row" INTEGER NOT NULL,
    maybe_applied BOOLEAN NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (run_no, "row"),
    FOREIGN KEY(run_no) REFERENCES runs (run_no) ON DELETE CASCADE
)
 WITHOUT ROWID;
