-- What each frame and each wake-up of a connection runs, on SQLite. It has the names and the parameters of
-- `postgres.sql`, which explains it. `core.db.named_sql` reads this file.

-- name: standing
SELECT attempt.connection, attempt.ended_at IS NULL, attempt.run_acked_at IS NOT NULL,
    session.cancel_requested_at IS NOT NULL, session.cancel_reason,
    (SELECT policy.version FROM approvals_policy policy WHERE policy.project_id = session.project_id),
    token.kind, token.secret_hash, token.user_id, token.ended_at IS NOT NULL,
    COALESCE(
        token.expires_at
            <= replace(strftime('%%Y-%%m-%%d %%H:%%M:%%f', COALESCE(%(now)s, 'now')) || '000', '.000000', ''),
        FALSE
    )
FROM orchestration_attempt attempt
JOIN orchestration_session session ON session.id = attempt.session_id
LEFT JOIN accounts_credential token ON token.public_id = %(token)s
WHERE attempt.session_id = %(session)s AND attempt.number = %(attempt)s
